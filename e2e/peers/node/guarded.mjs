// An MCP server that wants tokens of an authorization server, made for it (RFC 9728). Usage: node guarded.mjs PORT ISSUER;
// prints `listening on URL`. Its one tool says who the token is of. `POST /refuse` makes it refuse all tokens it has seen.

import { createPublicKey, verify } from 'node:crypto';
import { createServer } from 'node:http';

import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server';

const [port, issuer] = process.argv.slice(2);
const origin = `http://127.0.0.1:${port}`;
const resource = `${origin}/mcp`;
const metadata = `${origin}/.well-known/oauth-protected-resource/mcp`;

const seen = new Set();
const refused = new Set();

const handler = createMcpHandler(({ requestInfo }) => {
  const server = new McpServer({ name: 'guarded', version: '1.0.0' });
  server.registerTool('whoami', { description: 'Says whose token was shown' }, () => {
    const { sub, client_id: client } = claims(token(requestInfo));
    return { content: [{ type: 'text', text: `${sub} by ${client}` }] };
  });
  return server;
});

async function fetch_(request, options) {
  const { pathname } = new URL(request.url);
  if (pathname === '/refuse') {
    seen.forEach((one) => refused.add(one));
    return new Response('refused');
  }
  if (pathname === new URL(metadata).pathname) {
    return Response.json({ resource, authorization_servers: [issuer], scopes_supported: [] });
  }
  if (pathname !== '/mcp') return new Response('', { status: 404 });
  const shown = token(request);
  if (!shown || refused.has(shown) || !(await counts(shown))) {
    const headers = { 'www-authenticate': `Bearer error="invalid_token", resource_metadata="${metadata}"` };
    return new Response('', { status: 401, headers });
  }
  seen.add(shown);
  return handler.fetch(request, options);
}

function token(request) {
  return /^Bearer (.+)$/.exec(request.headers.get('authorization') ?? '')?.[1];
}

function claims(text) {
  return JSON.parse(Buffer.from(text.split('.')[1], 'base64url'));
}

/** Whether a token is the issuer's, for this server, and has not ended. */
async function counts(text) {
  const [header, payload, signature] = text.split('.');
  const { kid } = JSON.parse(Buffer.from(header, 'base64url'));
  const { keys } = await fetch(`${issuer}/jwks`).then((answer) => answer.json());
  const key = createPublicKey({ key: keys.find((one) => one.kid === kid), format: 'jwk' });
  const { iss, aud, exp } = claims(text);
  const sound = verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'));
  return sound && iss === issuer && aud === resource && exp * 1000 > Date.now();
}

const listener = createServer(toNodeHandler({ fetch: fetch_ }));
// Connections stay until the other side closes them: a timer that is late would close one in use.
listener.keepAliveTimeout = 0;
listener.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${resource}`));
