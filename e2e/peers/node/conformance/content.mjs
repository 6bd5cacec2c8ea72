// Tools that answer at once: one per kind of content, an error, and a schema to be kept as it is.

import { fromJsonSchema } from '@modelcontextprotocol/server';

import { said } from './features.mjs';
import { PNG, WAV } from './media.mjs';

const IMAGE = { type: 'image', data: PNG, mimeType: 'image/png' };

export function addContentTools(server) {
  answers(server, 'test_simple_text', said('This is a simple text response for testing.').content);
  answers(server, 'test_image_content', [IMAGE]);
  answers(server, 'test_audio_content', [{ type: 'audio', data: WAV, mimeType: 'audio/wav' }]);
  answers(server, 'test_embedded_resource', [
    embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.'),
  ]);
  answers(server, 'test_multiple_content_types', [
    { type: 'text', text: 'Multiple content types test:' },
    IMAGE,
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}'),
  ]);
  server.registerTool('test_error_handling', { description: 'Always fails' }, () => {
    throw new Error('This tool intentionally returns an error for testing');
  });
  const named = fromJsonSchema({ type: 'object', properties: { name: { type: 'string' } }, required: ['name'] });
  server.registerTool('greet', { description: 'Greets', inputSchema: named }, ({ name }) => said(`Hello, ${name}!`));
  const inputSchema = fromJsonSchema(SCHEMA_2020_12);
  server.registerTool('json_schema_2020_12_tool', { description: 'Tool with JSON Schema 2020-12 features', inputSchema }, (args) =>
    said(JSON.stringify(args)),
  );
}

function answers(server, name, content) {
  server.registerTool(name, { description: `Answers with ${content.map((c) => c.type).join(', ')}` }, () => ({ content }));
}

function embedded(uri, mimeType, text) {
  return { type: 'resource', resource: { uri, mimeType, text } };
}

const SCHEMA_2020_12 = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
};
