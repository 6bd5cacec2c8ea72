// Two fixed resources, one that can be watched, and a template.

import { ResourceTemplate } from '@modelcontextprotocol/server';

import { PNG } from './media.mjs';

const FIXED = [
  { uri: 'test://static-text', mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
  { uri: 'test://static-binary', mimeType: 'image/png', blob: PNG },
  { uri: 'test://watched-resource', mimeType: 'text/plain', text: 'Watched resource content' },
];

export function addResources(server) {
  for (const content of FIXED) {
    const about = { description: `The resource ${content.uri}`, mimeType: content.mimeType };
    server.registerResource(content.uri.slice('test://'.length), content.uri, about, () => ({ contents: [content] }));
  }
  const about = { description: 'Any id has data', mimeType: 'application/json' };
  const template = new ResourceTemplate('test://template/{id}/data', { list: undefined });
  server.registerResource('template', template, about, (uri, { id }) => ({
    contents: [{ uri: uri.href, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }],
  }));
  server.server.setRequestHandler('resources/subscribe', () => ({}));
  server.server.setRequestHandler('resources/unsubscribe', () => ({}));
}
