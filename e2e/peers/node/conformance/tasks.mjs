// The extension `io.modelcontextprotocol/tasks`, which the SDK does not have: tools whose calls a client can follow
// instead of waiting for them, and the methods to do that.
//
// The SDK's McpServer turns any answer of a tool into a finished tool result, and most errors too. So the requests of the
// extension go to a bare server of their own. The request's headers tell which they are; by the time that the SDK asks
// for a server it has refused headers that say other than the body.

import { setTimeout as sleep } from 'node:timers/promises';

import {
  MissingRequiredClientCapabilityError,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  acceptedContent,
  fromJsonSchema,
  inputRequired,
} from '@modelcontextprotocol/server';

import { IDENTITY, said } from './features.mjs';
import { NAME, STRING, capabilities, elicit, object } from './rounds.mjs';
import { TTL_MS, Task } from './task.mjs';

const EXTENSION = 'io.modelcontextprotocol/tasks';
const REQUIRED = { extensions: { [EXTENSION]: {} } };
const METHODS = ['tasks/get', 'tasks/update', 'tasks/cancel'];

/** The tasks of all clients by id. An id cannot be guessed and is all that the fixture asks for. */
const tasks = new Map();

export function isForTasks({ headers }) {
  const method = headers.get('mcp-method');
  return METHODS.includes(method) || (method === 'tools/call' && Object.hasOwn(TOOLS, headers.get('mcp-name')));
}

/** Has `server` announce the extension and list its tools. */
export function announceTasks(server) {
  server.server.registerCapabilities(REQUIRED);
  for (const [name, { description, inputSchema }] of Object.entries(TOOLS)) {
    server.registerTool(name, { description, inputSchema }, () => {
      throw new Error('Calls of this tool are for the task server');
    });
  }
  return server;
}

/** A server for the requests that `isForTasks` finds. */
export function taskServer() {
  const server = new Server(IDENTITY, { capabilities: { tools: {}, ...REQUIRED } });
  onTask(server, 'tasks/get', (task) => task.detailed);
  onTask(server, 'tasks/update', (task, ctx) => {
    task.answer(ctx.mcpReq.inputResponses ?? {});
    return {};
  });
  onTask(server, 'tasks/cancel', (task) => {
    task.cancel();
    return {};
  });
  // A handler for `tools/call` would have its answers given a `content`, which a new task does not have yet.
  server.fallbackRequestHandler = ({ params }, ctx) => call(TOOLS[params.name], params.arguments ?? {}, ctx);
  return server;
}

function onTask(server, method, answer) {
  server.setRequestHandler(method, { params: fromJsonSchema(object({ taskId: STRING })) }, ({ taskId }, ctx) => {
    demand(REQUIRED, ctx);
    const task = tasks.get(taskId);
    if (!task) throw new ProtocolError(ProtocolErrorCode.InvalidParams, 'Task not found');
    return answer(task, ctx);
  });
}

async function call({ inputSchema, asks, alsoAtOnce, before, job }, given, ctx) {
  const { value: args, issues } = await inputSchema['~standard'].validate(given);
  if (issues) return { ...said(issues.map((issue) => issue.message).join('; ')), isError: true };
  if (alsoAtOnce && !declares(REQUIRED, ctx)) return job(untilAnswered(ctx), args);
  demand(asks ? { ...REQUIRED, elicitation: {} } : REQUIRED, ctx);
  const responses = ctx.mcpReq.inputResponses;
  const questions = before?.(responses);
  if (questions) return inputRequired({ inputRequests: questions });
  const task = new Task((task) => job(task, args, responses));
  tasks.set(task.id, task);
  setTimeout(discard, TTL_MS, task).unref();
  return task.created;
}

/** What stands in for a task while the client of `ctx` waits for its answer. */
function untilAnswered(ctx) {
  return { sleep: (seconds) => sleep(seconds * 1000, undefined, { signal: ctx.mcpReq.signal }) };
}

function discard(task) {
  task.cancel();
  tasks.delete(task.id);
}

/** Refuses a request whose client does not declare all of `required`. */
function demand(required, ctx) {
  const missing = Object.entries(required).filter(([name, value]) => !declares({ [name]: value }, ctx));
  if (missing.length > 0) throw new MissingRequiredClientCapabilityError({ requiredCapabilities: Object.fromEntries(missing) });
}

function declares(required, ctx) {
  return includes(capabilities(ctx), required);
}

function includes(declared, required) {
  return Object.entries(required).every(([key, value]) => declared?.[key] !== undefined && includes(declared[key], value));
}

const CONFIRM = inputRequired.elicit({ message: 'Delete it?', requestedSchema: object({ confirm: { type: 'boolean' } }) });

/**
 * The tools by name. `job` is what a task of the tool does; with `alsoAtOnce`, clients that do not know tasks are served
 * too and wait for it. `before` gives what has to be asked before there is a task; `asks` is whether anything is asked.
 */
const TOOLS = {
  slow_compute: {
    description: 'Takes its time',
    inputSchema: fromJsonSchema(object({ seconds: { type: 'number', minimum: 0 }, label: STRING })),
    alsoAtOnce: true,
    job: async (task, { seconds, label }) => {
      await task.sleep(seconds);
      return said(`Computed ${label} in ${seconds} s`);
    },
  },
  failing_job: {
    description: 'Ends with a tool error',
    inputSchema: fromJsonSchema(object({})),
    job: async (task) => {
      await task.sleep(1);
      return { ...said('The job failed.'), isError: true };
    },
  },
  protocol_error_job: {
    description: 'Ends with a protocol error',
    inputSchema: fromJsonSchema(object({})),
    job: async (task) => {
      await task.sleep(0.2);
      throw new ProtocolError(ProtocolErrorCode.InternalError, 'The job broke down');
    },
  },
  confirm_delete: {
    description: 'Asks before it pretends to delete',
    inputSchema: fromJsonSchema(object({ filename: STRING })),
    asks: true,
    job: async (task, { filename }) => {
      const responses = await task.ask({ confirm: CONFIRM });
      return said(`${acceptedContent(responses, 'confirm')?.confirm ? 'Deleted' : 'Kept'} ${filename}`);
    },
  },
  multi_input: {
    description: 'Asks two things at once',
    inputSchema: fromJsonSchema(object({})),
    asks: true,
    job: async (task) => {
      const responses = await task.ask({ first: NAME, second: elicit('And the name of your friend?', 'name') });
      return said(['first', 'second'].map((key) => acceptedContent(responses, key)?.name).join(' and '));
    },
  },
  test_tool_with_task: {
    description: 'Asks first, then works',
    inputSchema: fromJsonSchema(object({})),
    asks: true,
    before: (responses) => (acceptedContent(responses, 'user_name') ? undefined : { user_name: NAME }),
    job: async (task, args, responses) => {
      await task.sleep(0.2);
      return said(`Worked for ${acceptedContent(responses, 'user_name').name}`);
    },
  },
};
