// Prompts without and with arguments, with other content than text, and one that asks first.

import { acceptedContent, fromJsonSchema, inputRequired } from '@modelcontextprotocol/server';

import { PNG } from './media.mjs';

export function addPrompts(server) {
  server.registerPrompt('test_simple_prompt', { description: 'No arguments' }, () =>
    asks({ type: 'text', text: 'This is a simple prompt for testing.' }),
  );
  const two = strings({ arg1: 'First test argument', arg2: 'Second test argument' });
  server.registerPrompt('test_prompt_with_arguments', { description: 'Two arguments', argsSchema: two }, ({ arg1, arg2 }) =>
    asks({ type: 'text', text: `Prompt with arguments: arg1='${arg1}', arg2='${arg2}'` }),
  );
  const one = strings({ resourceUri: 'URI of the resource to embed' });
  server.registerPrompt('test_prompt_with_embedded_resource', { description: 'Embeds a resource', argsSchema: one }, ({ resourceUri }) =>
    asks(
      { type: 'resource', resource: { uri: resourceUri, mimeType: 'text/plain', text: 'Embedded resource content for testing.' } },
      { type: 'text', text: 'Please process the embedded resource above.' },
    ),
  );
  server.registerPrompt('test_prompt_with_image', { description: 'Has an image' }, () =>
    asks({ type: 'image', data: PNG, mimeType: 'image/png' }, { type: 'text', text: 'Please analyze the image above.' }),
  );
  server.registerPrompt('test_input_required_result_prompt', { description: 'Asks for its context' }, (ctx) => {
    const given = acceptedContent(ctx.mcpReq.inputResponses, 'user_context');
    if (given) return asks({ type: 'text', text: `Context: ${given.context}` });
    const requestedSchema = { type: 'object', properties: { context: { type: 'string' } }, required: ['context'] };
    const question = inputRequired.elicit({ message: 'What context should the prompt use?', requestedSchema });
    return inputRequired({ inputRequests: { user_context: question } });
  });
  server.server.setRequestHandler('completion/complete', (request) => {
    const values = ['paris', 'park', 'party'].filter((value) => value.startsWith(request.params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
}

function asks(...contents) {
  return { messages: contents.map((content) => ({ role: 'user', content })) };
}

function strings(described) {
  const properties = Object.fromEntries(Object.entries(described).map(([name, description]) => [name, { type: 'string', description }]));
  return fromJsonSchema({ type: 'object', properties, required: Object.keys(described) });
}
