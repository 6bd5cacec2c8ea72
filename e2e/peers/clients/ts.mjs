// An MCP client on the TypeScript SDK that follows a script. Usage: node ts.mjs SPEC, where SPEC is
// {"transport": {"stdio": [COMMAND…]} | {"sse": URL} | {"http": URL}, "version": "legacy" | "auto" | VERSION, "steps": […]};
// a step is [METHOD, PARAMS]. Prints what the SDK delivered, a JSON line per step: {"step", "result" | "error", "progress"}.
// "headers" go with each request. With "urls", the user can be led to addresses, and does what it says there. With "repeats", what needs approval is called again. With "login", who logs the client in (login.mjs), the first line tells of the login; ["spoil"] loses the access token.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

import { Person } from './login.mjs';

// The packages stand beside the conformance fixture, this script beside its Python twin.
const installed = createRequire(new URL('../node/package.json', import.meta.url));
const load = (name) => import(pathToFileURL(installed.resolve(name)).href);
const { Client, SSEClientTransport, StreamableHTTPClientTransport, UnauthorizedError } = await load('@modelcontextprotocol/client');
const { StdioClientTransport } = await load('@modelcontextprotocol/client/stdio');

const spec = JSON.parse(process.argv[2]);
const authProvider = spec.login && new Person(spec.login);
const client = new Client(
  { name: 'tollbook-e2e-ts', version: '1.0.0' },
  {
    capabilities: { sampling: {}, elicitation: { form: {}, ...(spec.urls && { url: {} }) }, roots: {} },
    versionNegotiation: { mode: ['legacy', 'auto'].includes(spec.version) ? spec.version : { pin: spec.version } },
  },
);
client.setRequestHandler('sampling/createMessage', () => ({
  model: 'scripted',
  role: 'assistant',
  content: { type: 'text', text: 'A scripted answer.' },
}));
client.setRequestHandler('elicitation/create', ({ params }) =>
  params.mode === 'url' ? lead(params) : { action: 'accept', content: filled(params.requestedSchema) },
);
client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///srv/project', name: 'project' }] }));

// With "listens", the step ["told"] waits until the client was told that tools have changed.
const told = Promise.withResolvers();
client.setNotificationHandler('notifications/tools/list_changed', ({ method }) => told.resolve({ method }));

// The step ["over"] waits until the client was told that what its user was led to is over.
const over = Promise.withResolvers();
client.setNotificationHandler('notifications/elicitation/complete', ({ params }) => over.resolve(params));

if (authProvider) await login();
await client.connect(transport(spec.transport));
if (spec.listens && spec.version !== 'legacy') await client.listen({ toolsListChanged: true });
for (const [step, params] of spec.steps) {
  const progress = [];
  // The last report comes with the result, and whether the SDK still delivers it then depends on how both were read.
  const report = (update) => update.progress === update.total || progress.push(update);
  const outcome = await run(step, params, report).then(
    (result) => ({ result }),
    (error) => ({ error: { code: error.code, message: error.message } }),
  );
  console.log(JSON.stringify({ step, ...outcome, ...(progress.length > 0 && { progress }) }));
}
await client.close();

function transport({ stdio, sse, http }) {
  if (stdio) return new StdioClientTransport({ command: stdio[0], args: stdio.slice(1), env: process.env, stderr: 'ignore' });
  const options = { authProvider, requestInit: { headers: spec.headers } };
  return sse ? new SSEClientTransport(new URL(sse), options) : new StreamableHTTPClientTransport(new URL(http), options);
}

/** The SDK is refused, sends the person to log in, and has what came back given to it. */
async function login() {
  const refused = transport(spec.transport);
  const error = await client.connect(refused).then(() => undefined, (error) => error);
  if (!(error instanceof UnauthorizedError)) throw error ?? new Error('nobody asked for a login');
  await refused.finishAuth(authProvider.answer());
  console.log(JSON.stringify({ step: 'login', result: authProvider.told() }));
}

function run(method, params, onprogress) {
  switch (method) {
    case 'spoil': return Promise.resolve(authProvider.spoil());
    case 'told': return told.promise;
    case 'over': return over.promise;
    case 'tools/list': return client.listTools(params);
    case 'tools/call': return call(params, { onprogress });
    case 'resources/list': return client.listResources(params);
    case 'resources/templates/list': return client.listResourceTemplates(params);
    case 'resources/read': return client.readResource(params);
    case 'prompts/list': return client.listPrompts(params);
    case 'prompts/get': return client.getPrompt(params);
    default: throw new Error(`no such step: ${method}`);
  }
}

/** With "repeats", a call that needs approval is made again until it is decided, as its answer says. */
async function call(params, options) {
  // Gone without a word, in the midst of the call.
  if (spec.leaves) setTimeout(() => process.exit(0), 5000);
  const result = await client.callTool(params, options);
  if (!spec.repeats || !result.content?.[0]?.text?.startsWith('approval required')) return result;
  console.log(JSON.stringify({ step: 'repeats' }));
  return call(params, options);
}

/** With "urls", the user opens the page and does what it says: `accept`, `decline`, `cancel`. */
async function lead({ url }) {
  const page = await (await fetch(url)).text();
  console.log(JSON.stringify({ step: 'led', result: /<h1>(.*?)<\/h1>/.exec(page)?.[1] }));
  return { action: spec.urls };
}

/** The least that a form's schema accepts: its required strings. */
function filled(schema) {
  const required = schema?.required ?? [];
  return Object.fromEntries(required.map((name) => [name, schema.properties[name].type === 'boolean' ? true : `scripted ${name}`]));
}
