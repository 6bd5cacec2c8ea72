// Serves a client's metadata document (OAuth client id metadata documents) over TLS. Usage: node document.mjs PORT FOLDER,
// where FOLDER has `cert.pem` and `key.pem`; prints `listening on URL`, which is the client's id.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import { Person } from './login.mjs';

const [port, folder] = process.argv.slice(2);
const client_id = `https://127.0.0.1:${port}/client.json`;
const document = JSON.stringify({ client_id, ...new Person({}).clientMetadata });
const files = { cert: readFileSync(`${folder}/cert.pem`), key: readFileSync(`${folder}/key.pem`) };
const listener = createServer(files, (_, response) => response.setHeader('content-type', 'application/json').end(document));
listener.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${client_id}`));
