// The agent of `cargo xtask demo`: a task over two MCP servers, through the gateway. Usage: node agent.mjs GATEWAY FOLDER.
// It reads a project, writes a summary, asks for what it may not have, waits for something slow, and reads something large.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const installed = createRequire(new URL('../node/package.json', import.meta.url));
const { Client, StreamableHTTPClientTransport } = await import(
  pathToFileURL(installed.resolve('@modelcontextprotocol/client')).href
);

const [gateway, folder] = process.argv.slice(2);
const connect = async (server) => {
  const client = new Client({ name: 'demo-agent', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(`${gateway}/mcp/${server}`));
  await client.connect(transport);
  return { client, transport };
};
const call = async ({ client }, what, name, args, options) => {
  process.stdout.write(`  agent: ${what} … `);
  const result = await client.callTool({ name, arguments: args }, options);
  const text = result.content.map((part) => part.text ?? '').join('');
  console.log(result.isError ? `refused: ${text.split('\n')[0]}` : `${text.length} characters`);
  return text;
};

const files = await connect('files');
const tools = await connect('everything');
await call(files, 'look at the project', 'list_directory', { path: folder });
const readme = await call(files, 'read the README', 'read_text_file', { path: `${folder}/README.md` });
await call(files, 'read the measurements (large)', 'read_text_file', { path: `${folder}/measurements.csv` });
await call(files, 'write a summary', 'write_file', { path: `${folder}/SUMMARY.md`, content: `Summary: ${readme.split('\n')[0]}\n` });
await call(files, 'read a password file outside', 'read_text_file', { path: '/etc/shadow' });
await call(tools, 'add two numbers', 'get-sum', { a: 19, b: 23 });
const onprogress = ({ progress, total }) => process.stdout.write(`${progress}/${total} `);
await call(tools, 'run something slow', 'trigger-long-running-operation', { duration: 1, steps: 4 }, { onprogress });
for (const { client, transport } of [files, tools]) {
  await transport.terminateSession();
  await client.close();
}
