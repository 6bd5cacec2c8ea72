// Prints an ID token of the provider: a person logs in at the client `portal`. Usage: node idtoken.mjs ISSUER PERSON.

import { createHash, randomUUID } from 'node:crypto';

import { browse } from './browser.mjs';

const [issuer, person] = process.argv.slice(2);
const found = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
const redirect_uri = 'http://127.0.0.1:1/portal';
const code_verifier = `${randomUUID()}${randomUUID()}`;
const start = new URL(found.authorization_endpoint);
start.search = new URLSearchParams({
  client_id: 'portal',
  response_type: 'code',
  redirect_uri,
  scope: 'openid groups',
  nonce: randomUUID(),
  code_challenge: createHash('sha256').update(code_verifier).digest('base64url'),
  code_challenge_method: 'S256',
});
const { url } = await browse(start, redirect_uri, person);
const form = { grant_type: 'authorization_code', code: url.searchParams.get('code'), redirect_uri, code_verifier, client_id: 'portal' };
const answer = await fetch(found.token_endpoint, { method: 'POST', body: new URLSearchParams(form) });
const { id_token } = await answer.json();
console.log(id_token);
