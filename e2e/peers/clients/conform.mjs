// A client for the conformance suite's `auth/*` scenarios. The suite appends the server's URL.
//   node conform.mjs direct URL             the SDK's client with its own OAuth
//   node conform.mjs through BINARY URL     the same client without any, through a gateway that has the server connected
// Whoever sits at the browser agrees to everything.

import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

const installed = createRequire(new URL('../node/package.json', import.meta.url));
const { Client, ClientCredentialsProvider, PrivateKeyJwtProvider, StreamableHTTPClientTransport, UnauthorizedError } =
  await import(pathToFileURL(installed.resolve('@modelcontextprotocol/client')).href);

const REDIRECT = 'http://127.0.0.1:1/callback';
const DOCUMENT = 'https://conformance-test.local/client-metadata.json';
/** Logins until somebody gives up. */
const LOGINS = 2;

const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const [way, ...rest] = process.argv.slice(2);
await (way === 'direct' ? direct(...rest) : through(...rest));

/** What every client does: looks at the tools and calls one. */
async function use(url, authProvider) {
  const client = new Client({ name: 'conformance-client', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
  try {
    await client.connect(transport);
    const { tools } = await client.listTools();
    if (tools.length > 0) await client.callTool({ name: tools[0].name, arguments: {} });
  } catch (error) {
    Object.defineProperty(error, "transport", { value: transport, configurable: true });
    throw error;
  }
  await client.close();
}

/** The answer of an authorization server that asks nobody. */
async function agree(url) {
  const response = await fetch(url, { redirect: 'manual' });
  const location = response.headers.get('location');
  if (!location) throw new Error(`no answer but ${response.status}`);
  return new URL(location, url);
}

async function direct(url) {
  const provider = providerOf();
  for (let logins = 0; ; logins += 1) {
    try {
      return await use(url, provider);
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || !provider.answer || logins === LOGINS) throw error;
      await error.transport.finishAuth(provider.answer());
    }
  }
}

function providerOf() {
  const { client_id: clientId, client_secret: clientSecret, private_key_pem: privateKey } = context;
  if (scenario === 'auth/client-credentials-basic') return new ClientCredentialsProvider({ clientId, clientSecret });
  if (scenario === 'auth/client-credentials-jwt') {
    return new PrivateKeyJwtProvider({ clientId, privateKey, algorithm: context.signing_algorithm ?? 'ES256' });
  }
  const kept = clientId ? { client: { client_id: clientId, client_secret: clientSecret } } : {};
  return {
    clientMetadataUrl: DOCUMENT,
    redirectUrl: REDIRECT,
    clientMetadata: { client_name: 'conformance-client', redirect_uris: [REDIRECT], application_type: 'native' },
    state: () => (kept.state = randomUUID()),
    clientInformation: () => kept.client,
    saveClientInformation: (client) => (kept.client = client),
    tokens: () => kept.tokens,
    saveTokens: (tokens) => (kept.tokens = tokens),
    saveCodeVerifier: (verifier) => (kept.verifier = verifier),
    codeVerifier: () => kept.verifier,
    saveDiscoveryState: (found) => (kept.found = found),
    discoveryState: () => kept.found,
    invalidateCredentials: () => { delete kept.client; delete kept.tokens; },
    redirectToAuthorization: async (to) => { kept.answer = (await agree(to)).searchParams; },
    answer: () => kept.answer,
  };
}

async function through(binary, url) {
  const data = mkdtempSync(join(tmpdir(), 'conform-'));
  const config = join(data, 'tollbook.toml');
  writeFileSync(config, await settings(data, url));
  const gateway = spawn(binary, ['serve', '--config', config, '--data', data], { stdio: ['ignore', 'ignore', 'pipe'] });
  try {
    const address = await listening(gateway.stderr);
    for (let logins = 0; ; logins += 1) {
      try {
        return await use(`${address}/mcp/suite`);
      } catch (error) {
        if (!inspect(error).includes('tollbook servers connect') || logins === LOGINS) throw error;
        await connect(binary, config, data);
      }
    }
  } finally {
    gateway.kill('SIGTERM');
    await new Promise((resolve) => gateway.once('exit', resolve));
    rmSync(data, { recursive: true });
  }
}

async function settings(data, url) {
  const text = [`listen = "127.0.0.1:0"`, '[console]', 'listen = "127.0.0.1:0"', '[ledger]', 'reserve_percent = 0', '[servers.suite]', `url = "${url}"`, '[servers.suite.credentials]'];
  const { client_id: id, client_secret: secret, private_key_pem: key } = context;
  if (scenario.startsWith('auth/client-credentials')) {
    text.push('kind = "client_credentials"');
  } else {
    text.push('kind = "authorization_code"', `client_document = "${DOCUMENT}"`);
  }
  if (id) {
    // Who has registered the gateway at an issuer knows which.
    const { origin, pathname } = new URL(url);
    const metadata = await fetch(`${origin}/.well-known/oauth-protected-resource${pathname}`).then((answer) => answer.json());
    text.push(`client_id = "${id}"`, `issuer = "${metadata.authorization_servers[0]}"`);
  }
  if (secret) text.push(`client_secret = "${secret}"`);
  if (key) {
    writeFileSync(join(data, 'key.pem'), key, { mode: 0o600 });
    text.push(`key = "file:${join(data, 'key.pem')}"`);
  }
  return text.join('\n');
}

/** The address that a gateway says. */
async function listening(stream) {
  for await (const line of createInterface({ input: stream })) {
    if (line.startsWith('listening on http')) {
      stream.resume();
      return line.slice('listening on '.length);
    }
  }
  throw new Error('the gateway did not come up');
}

/** Runs the operator's command and goes where it says. */
function connect(binary, config, data) {
  const arguments_ = ['servers', 'connect', 'suite', '--config', config, '--data', data];
  return new Promise((resolve, reject) => {
    const command = execFile(binary, arguments_, (error) => (error ? reject(error) : resolve()));
    createInterface({ input: command.stdout }).on('line', async (line) => {
      if (line.startsWith('http')) await agree(line).then((back) => fetch(back)).catch(reject);
    });
  });
}
