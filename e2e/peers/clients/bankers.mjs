// Who works with the bank in `cargo xtask demo`. Usage: node bankers.mjs GATEWAY PROVIDER WHO, where WHO is `teller`, a person
// who logs in through the gateway with the SDK's own OAuth code, or `job`, a program that exchanges its provider's token for a
// run with a purpose and a scope. With `closing` the teller closes an account, and asks once more when that is refused.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

import { Person } from './login.mjs';

const installed = createRequire(new URL('../node/package.json', import.meta.url));
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await import(
  pathToFileURL(installed.resolve('@modelcontextprotocol/client')).href
);

const [gateway, provider, who] = process.argv.slice(2);
const bank = new URL(`${gateway}/mcp/bank`);

const client = await (who === 'job' ? job() : teller());
const { tools } = await client.listTools();
console.log(`  ${who}: the bank has ${tools.map(({ name }) => name).join(', ')}`);
await (who === 'closing' ? close() : work());
await client.close();

async function work() {
  await call('balance', { account: 'acct-7' });
  await call('transfer', { to: 'acct-9', amount: 80 });
  if (who !== 'teller') return;
  await call('transfer', { to: 'acct-9', amount: 9000 });
  await call('close_account', { account: 'acct-7' });
}

async function close() {
  await call('close_account', { account: 'acct-7' });
  // A refusal holds for a second here.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  await call('close_account', { account: 'acct-7' });
}

/** A person at a browser; the provider asks for the name. */
async function teller() {
  const person = new Person({ person: 'mira' });
  const options = { authProvider: person };
  const client = new Client({ name: 'teller-desk', version: '1.0.0' });
  const refused = new StreamableHTTPClientTransport(bank, options);
  const error = await client.connect(refused).then(() => undefined, (error) => error);
  if (!(error instanceof UnauthorizedError)) throw error ?? new Error('nobody asked for a login');
  await refused.finishAuth(person.answer());
  console.log(`  ${who}: refused without a login; mira logs in at ${provider} and allows it`);
  await client.connect(new StreamableHTTPClientTransport(bank, options));
  return client;
}

/** A program with an identity of its own, and a run for this task alone (RFC 8693). */
async function job() {
  const known = Buffer.from('robot:robot-secret').toString('base64');
  const own = await form(`${provider}/token`, { grant_type: 'client_credentials', resource: bank }, { authorization: `Basic ${known}` });
  const run = await form(`${gateway}/oauth/token`, {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: own.access_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    resource: bank,
    scope: 'bank/balance',
    purpose: 'nightly balance report',
  });
  console.log(`  ${who}: robot exchanges its token for a run: scope ${run.scope}, ${run.expires_in} s, "nightly balance report"`);
  const headers = { authorization: `Bearer ${run.access_token}` };
  const client = new Client({ name: 'nightly-report', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(bank, { requestInit: { headers } }));
  return client;
}

async function form(url, fields, headers) {
  const response = await fetch(url, { method: 'POST', body: new URLSearchParams(fields), headers });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${url}: ${JSON.stringify(answer)}`);
  return answer;
}

async function call(name, args) {
  const shown = `${name} ${JSON.stringify(args)}`;
  const said = await client.callTool({ name, arguments: args }).then(
    (result) => (result.isError ? `refused: ${result.content[0].text}` : result.content[0].text),
    (error) => `error ${error.code}: ${error.message}`,
  );
  console.log(`  ${who}: ${shown} … ${said}`);
}
