// A receiver of webhooks, whose signatures the Standard Webhooks library verifies. Usage: node hook.mjs PORT FILE SECRET
// [FOLDER], over TLS with the `cert.pem` and `key.pem` of FOLDER; prints `listening on URL` when it is ready. What it has verified is a line of FILE before it answers 204, and outlives it; what
// does not verify is answered 401.

import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';

import { Webhook } from 'standardwebhooks';

const [port, file, secret, folder] = process.argv.slice(2);
const webhook = new Webhook(secret);

async function receive(request, response) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts).toString('utf8');
  try {
    const event = webhook.verify(body, request.headers);
    appendFileSync(file, `${JSON.stringify({ id: request.headers['webhook-id'], ...event })}\n`);
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end();
  }
}

const pem = (name) => readFileSync(`${folder}/${name}.pem`);
const listener = folder ? createSecureServer({ cert: pem('cert'), key: pem('key') }, receive) : createServer(receive);
listener.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}`));
