// Tools that need something from the client before they can answer. Each returns what it needs; in the stateless era
// that goes out as an `input_required` result, in the session era the SDK turns it into requests to the client.

import {
  acceptedContent,
  fromJsonSchema,
  inputRequired,
  inputResponse,
} from '@modelcontextprotocol/server';

import { said } from './features.mjs';

export function addRounds(server, states) {
  addSingleRounds(server);
  addStatefulRounds(server, states);
  addSessionEraNames(server);
  asksOnce(server, 'test_missing_capability', 'greeting', sample('Generate a greeting', 50), (responses) => sampled(responses, 'greeting'));
  server.registerTool('test_streaming_elicitation', { description: 'Asks on its stream' }, (ctx) => {
    const given = inputResponse(ctx.mcpReq.inputResponses, 'confirm');
    return given.kind === 'elicit' ? said(given.action) : inputRequired({ inputRequests: { confirm: CONFIRM } });
  });
  server.registerTool('test_input_required_result_capabilities', { description: 'Asks only what may be asked' }, (ctx) => {
    const can = capabilities(ctx) ?? {};
    const inputRequests = {};
    if (can.sampling) inputRequests.greeting = sample('Generate a greeting', 50);
    if (can.elicitation) inputRequests.user_name = NAME;
    return Object.keys(inputRequests).length > 0 ? inputRequired({ inputRequests }) : said('Nothing may be asked.');
  });
}

function addSingleRounds(server) {
  asksOnce(server, 'test_input_required_result_elicitation', 'user_name', NAME, (responses) => {
    const name = acceptedContent(responses, 'user_name')?.name;
    return typeof name === 'string' ? `Hello, ${name}!` : undefined;
  });
  const capital = sample('What is the capital of France?', 100);
  asksOnce(server, 'test_input_required_result_sampling', 'capital_question', capital, (responses) => sampled(responses, 'capital_question'));
  asksOnce(server, 'test_input_required_result_list_roots', 'client_roots', inputRequired.listRoots(), (responses) => {
    const given = inputResponse(responses, 'client_roots');
    return given.kind === 'roots' ? `Roots: ${given.roots.map((root) => root.uri).join(', ')}` : undefined;
  });
}

/** A tool that asks one thing until `answer` makes text of the responses. */
function asksOnce(server, name, key, question, answer) {
  server.registerTool(name, { description: `Asks for ${key}` }, (ctx) => {
    const text = answer(ctx.mcpReq.inputResponses);
    return text === undefined ? inputRequired({ inputRequests: { [key]: question } }) : said(text);
  });
}

function addStatefulRounds(server, states) {
  const ask = async (inputRequests, state) => inputRequired({ inputRequests, requestState: await states.mint(state) });
  for (const name of ['test_input_required_result_request_state', 'test_input_required_result_tampered_state']) {
    server.registerTool(name, { description: 'Keeps its state with the client' }, (ctx) =>
      ctx.mcpReq.requestState() ? said('state-ok') : ask({ confirm: CONFIRM }, { asked: 'confirm' }),
    );
  }
  server.registerTool('test_input_required_result_multiple_inputs', { description: 'Asks three things at once' }, (ctx) => {
    const responses = ctx.mcpReq.inputResponses;
    const name = acceptedContent(responses, 'user_name')?.name;
    const greeting = sampled(responses, 'greeting');
    const roots = inputResponse(responses, 'client_roots');
    if (name !== undefined && greeting !== undefined && roots.kind === 'roots') return said(`${greeting} ${name}, ${roots.roots.length} roots`);
    const questions = { user_name: NAME, greeting: sample('Generate a greeting', 50), client_roots: inputRequired.listRoots() };
    return ask(questions, { asked: 'all' });
  });
  server.registerTool('test_input_required_result_multi_round', { description: 'Asks two things in turn' }, (ctx) => {
    const state = ctx.mcpReq.requestState();
    const name = acceptedContent(ctx.mcpReq.inputResponses, 'step1')?.name ?? state?.name;
    const color = acceptedContent(ctx.mcpReq.inputResponses, 'step2')?.color;
    if (name === undefined) return ask({ step1: elicit('Step 1: What is your name?', 'name') }, { step: 1 });
    if (color === undefined) return ask({ step2: elicit('Step 2: What is your favorite color?', 'color') }, { step: 2, name });
    return said(`${name} likes ${color}.`);
  });
}

/** The tools by which the session era's scenarios ask for sampling and elicitation. */
function addSessionEraNames(server) {
  withArgument(server, 'test_sampling', 'prompt', (prompt, responses) => {
    const text = sampled(responses, 'sample');
    return text === undefined ? { sample: sample(prompt, 100) } : `LLM response: ${text}`;
  });
  withArgument(server, 'test_elicitation', 'message', (message, responses) =>
    elicited(responses, 'User response: ') ?? { form: inputRequired.elicit({ message, requestedSchema: object({ username: STRING, email: STRING }) }) },
  );
  for (const [name, properties] of Object.entries(FORMS)) {
    const form = inputRequired.elicit({ message: 'Please fill in the form', requestedSchema: object(properties, []) });
    server.registerTool(name, { description: 'Asks for a form' }, (ctx) => {
      const text = elicited(ctx.mcpReq.inputResponses, 'Elicitation completed: ');
      return text === undefined ? inputRequired({ inputRequests: { form } }) : said(text);
    });
  }
}

/** A tool with one string argument; `round` gives the questions to ask, or the text to answer. */
function withArgument(server, name, argument, round) {
  const inputSchema = fromJsonSchema(object({ [argument]: STRING }));
  server.registerTool(name, { description: `Passes its ${argument} to the client`, inputSchema }, (args, ctx) => {
    const next = round(args[argument], ctx.mcpReq.inputResponses);
    return typeof next === 'string' ? said(next) : inputRequired({ inputRequests: next });
  });
}

function sampled(responses, key) {
  const given = inputResponse(responses, key);
  if (given.kind !== 'sampling') return undefined;
  const content = [given.result.content].flat();
  return content.map((block) => block.text ?? block.type).join(' ');
}

function elicited(responses, label) {
  const given = inputResponse(responses, 'form');
  return given.kind === 'elicit' ? `${label}action=${given.action}, content=${JSON.stringify(given.content ?? {})}` : undefined;
}

/** What the request's client declares, in the stateless era. */
export function capabilities(ctx) {
  return ctx.mcpReq.envelope?.['io.modelcontextprotocol/clientCapabilities'];
}

function sample(text, maxTokens) {
  return inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens });
}

export function elicit(message, property) {
  return inputRequired.elicit({ message, requestedSchema: object({ [property]: STRING }) });
}

export function object(properties, required = Object.keys(properties)) {
  return { type: 'object', properties, required };
}

export const STRING = { type: 'string' };
export const NAME = elicit('What is your name?', 'name');
const CONFIRM = inputRequired.elicit({ message: 'Please confirm', requestedSchema: object({ ok: { type: 'boolean' } }) });

const OPTIONS = ['option1', 'option2', 'option3'];
const TITLED = [
  { const: 'value1', title: 'First Option' },
  { const: 'value2', title: 'Second Option' },
  { const: 'value3', title: 'Third Option' },
];

/** Forms by tool: one with a default for each primitive type, one with each way to write a choice. */
const FORMS = {
  test_elicitation_sep1034_defaults: {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  },
  test_elicitation_sep1330_enums: {
    untitledSingle: { type: 'string', enum: OPTIONS },
    titledSingle: { type: 'string', oneOf: TITLED },
    legacyEnum: { type: 'string', enum: ['opt1', 'opt2', 'opt3'], enumNames: ['Option One', 'Option Two', 'Option Three'] },
    untitledMulti: { type: 'array', items: { type: 'string', enum: OPTIONS } },
    titledMulti: { type: 'array', items: { anyOf: TITLED } },
  },
};
