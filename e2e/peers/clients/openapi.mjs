// Somebody else's view of the console's API. `node openapi.mjs DOCUMENT` checks the OpenAPI document by the schema of its version,
// and each answer on standard input, a list of {method, path, status, body}, by what the document says of it.
// Prints `{"operations": all there are, "answers": how many fit}`; ends with 1 at the first that does not.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../node/package.json', import.meta.url));
const { Validator } = await import(require.resolve('@seriousme/openapi-schema-validator'));
const { default: Ajv } = require('ajv/dist/2020.js');

const document = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const checked = await new Validator().validate(structuredClone(document));
if (!checked.valid) fail('the document', checked.errors);

const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema(document, 'document');
const answers = JSON.parse(readFileSync(0, 'utf8'));
for (const { method, path, status, body } of answers) {
  const what = `${status} of ${method} ${path}`;
  const template = template_of(path.split('?')[0]);
  const operation = document.paths[template]?.[method.toLowerCase()];
  if (!operation) fail(what, 'no such operation');
  let place = ['paths', template, method.toLowerCase(), 'responses', String(status)];
  const response = operation.responses[status];
  if (!response) fail(what, 'no such response');
  if (response.$ref) place = response.$ref.slice(2).split('/');
  const content = at(place).content;
  const [type] = Object.keys(content);
  const pointer = [...place, 'content', type, 'schema'].map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')));
  const fits = ajv.compile({ $ref: `document#/${pointer.join('/')}` });
  if (!fits(body)) fail(what, { errors: fits.errors, body });
}
const operations = Object.values(document.paths).flatMap((path) => Object.keys(path).filter((name) => name !== 'parameters'));
console.log(JSON.stringify({ operations: operations.length, answers: answers.length }));

/** The path itself if the document has it, else the one that stands for it. */
function template_of(path) {
  if (document.paths[path]) return path;
  const fits = (template) => new RegExp(`^${template.replaceAll('.', '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`).test(path);
  return Object.keys(document.paths).find(fits);
}

function at(place) {
  return place.reduce((value, part) => value[part], document);
}

function fail(what, why) {
  console.error(what, JSON.stringify(why, null, 1));
  process.exit(1);
}
