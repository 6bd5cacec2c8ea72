// The server that the conformance suite is run against, directly and through the gateway: both protocol eras on one
// endpoint. Usage: node everything-conformance.mjs [PORT]; prints `listening on URL` when it is ready.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { toNodeHandler } from '@modelcontextprotocol/node';
import {
  WebStandardStreamableHTTPServerTransport,
  createMcpHandler,
  hostHeaderValidationResponse,
  isLegacyRequest,
  localhostAllowedHostnames,
  localhostAllowedOrigins,
  originValidationResponse,
} from '@modelcontextprotocol/server';

import { EventLog } from './conformance/event-log.mjs';
import { build } from './conformance/features.mjs';
import { announceTasks, isForTasks, taskServer } from './conformance/tasks.mjs';

/** What an SSE client waits before it reconnects; short, so that the suite's polling scenario is too. */
const RETRY_MS = 100;

const modern = createMcpHandler(
  ({ requestInfo }) => (isForTasks(requestInfo) ? taskServer() : announceTasks(build(changes()))),
  { legacy: 'reject' },
);
const sessions = new Map();

/** Where the modern era's tools announce that a list changed. */
function changes() {
  return { tools: () => modern.notify.toolsChanged(), prompts: () => modern.notify.promptsChanged() };
}

async function fetch(request, options) {
  const refused =
    hostHeaderValidationResponse(request, localhostAllowedHostnames()) ??
    originValidationResponse(request, localhostAllowedOrigins());
  if (refused) return refused;
  if (await isLegacyRequest(request)) return inSession(request, options);
  return modern.fetch(request, options);
}

/** Serves the session era: the transport of the session that the request names, or a new one. */
async function inSession(request, options) {
  const id = request.headers.get('mcp-session-id');
  const known = id && sessions.get(id);
  if (known) return known.handleRequest(request, options);
  if (id) return Response.json(error(-32001, 'Session not found'), { status: 404 });
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: new EventLog(),
    retryInterval: RETRY_MS,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  const server = build({ tools: () => server.sendToolListChanged(), prompts: () => server.sendPromptListChanged() });
  await server.connect(transport);
  return transport.handleRequest(request, options);
}

function error(code, message) {
  return { jsonrpc: '2.0', id: null, error: { code, message } };
}

const listener = createServer(toNodeHandler({ fetch }));
// Connections stay until the other side closes them: a timer that is late would close one in use.
listener.keepAliveTimeout = 0;
listener.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${listener.address().port}/mcp`);
});
