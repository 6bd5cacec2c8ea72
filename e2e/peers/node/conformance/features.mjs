// The tools, resources and prompts that the suite's scenarios name, on one server. Written once, served in both eras.

import { McpServer, createRequestStateCodec, fromJsonSchema } from '@modelcontextprotocol/server';

import { addContentTools } from './content.mjs';
import { addPrompts } from './prompts.mjs';
import { addResources } from './resources.mjs';
import { addRounds } from './rounds.mjs';

/** One process serves every round of a flow, and nothing secret hangs on it. */
const states = createRequestStateCodec({ key: 'a fixture key, at least thirty-two bytes long' });

export const IDENTITY = { name: 'tollbook-conformance-fixture', version: '1.0.0' };

/** A server; `changed.tools()` and `changed.prompts()` tell its clients that a list changed. */
export function build(changed) {
  const server = new McpServer(
    IDENTITY,
    {
      capabilities: {
        completions: {},
        logging: {},
        prompts: { listChanged: true },
        resources: { subscribe: true, listChanged: true },
        tools: { listChanged: true },
      },
      cacheHints: Object.fromEntries(CACHEABLE.map((method) => [method, { ttlMs: 1000, cacheScope: 'private' }])),
      requestState: { verify: states.verify },
    },
  );
  addContentTools(server);
  addStreamingTools(server);
  addChangeTools(server, changed);
  addRounds(server, states);
  addResources(server);
  addPrompts(server);
  return server;
}

const CACHEABLE = ['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read'];

/** Tools that send something before their result. */
function addStreamingTools(server) {
  server.registerTool('test_tool_with_logging', { description: 'Logs three times while it runs' }, async (ctx) => {
    for (const text of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await ctx.mcpReq.log('info', text, 'fixture');
      await pause();
    }
    return said('Logged three messages.');
  });
  server.registerTool('test_tool_with_progress', { description: 'Reports 0, 50 and 100 of 100' }, async (ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of [0, 50, 100]) {
      const params = { progressToken, progress, total: 100, message: `Completed step ${progress} of 100` };
      if (progressToken !== undefined) await ctx.mcpReq.notify({ method: 'notifications/progress', params });
      await pause();
    }
    return said(String(progressToken));
  });
  server.registerTool('test_logging_tool', { description: 'Logs if the request asked for it' }, async (ctx) => {
    await ctx.mcpReq.log('info', 'Only for those who asked.', 'fixture');
    return said('Logged one message.');
  });
  server.registerTool('test_reconnection', { description: 'Closes its stream and answers on the next' }, async (ctx) => {
    ctx.http?.closeSSE?.();
    await pause();
    return said('The client came back for this.');
  });
}

/** Tools that change a list. */
function addChangeTools(server, changed) {
  const region = { type: 'string', description: 'Mirrored in a header', 'x-mcp-header': 'Region' };
  const inputSchema = fromJsonSchema({ type: 'object', properties: { region }, required: ['region'] });
  server.registerTool('test_header_mirror', { description: 'Has a mirrored argument', inputSchema }, ({ region }) =>
    said(`Region: ${region}`),
  );
  server.registerTool('test_trigger_tool_change', { description: 'Announces a changed tool list' }, () => {
    changed.tools();
    return said('Announced.');
  });
  server.registerTool('test_trigger_prompt_change', { description: 'Announces a changed prompt list' }, () => {
    changed.prompts();
    return said('Announced.');
  });
}

/** A tool's answer in words. */
export function said(text) {
  return { content: [{ type: 'text', text }] };
}

/** Lets what was sent leave as an event of its own, as the scenarios ask. */
function pause() {
  return new Promise((resolve) => setTimeout(resolve, 50));
}
