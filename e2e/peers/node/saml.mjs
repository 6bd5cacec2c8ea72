// A SAML provider for the tests, on Auth0's `samlp`. Usage: node saml.mjs PORT GATEWAY [CONSOLE]; prints `listening on URL`.
// People type who they are; each has groups. Its entity id is `URL/saml`, its metadata is there too.

import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';

import samlp from 'samlp';

const [port, gateway, desk] = process.argv.slice(2);
const url = `http://127.0.0.1:${port}`;
const issuer = `${url}/saml`;

/** Where the responses to each service go, by its entity id. */
const PLACES = {
  [`${gateway}/oauth/saml/metadata`]: `${gateway}/oauth/saml/acs`,
  [`${desk}/login/saml/metadata`]: `${desk}/login/saml/acs`,
};

const PEOPLE = { mira: ['tellers', 'staff'], otto: ['guests'] };

/** A key and its certificate, as PEM one behind the other. */
const pair = execFileSync('openssl', 'req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=saml -keyout - -out -'.split(' '), {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'ignore'],
});
const [key, cert] = [/-----BEGIN PRIVATE KEY-----[\s\S]*?-----END PRIVATE KEY-----/, /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/].map(
  (part) => `${part.exec(pair)[0]}\n`,
);

/** What is said of a person. */
class Profile {
  constructor(person) { this.person = person; }
  getClaims() { return { groups: PEOPLE[this.person], displayName: `${this.person} of the tests` }; }
  getNameIdentifier() {
    return { nameIdentifier: this.person, nameIdentifierFormat: 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent' };
  }
}
Profile.prototype.metadata = [];

const metadata = samlp.metadata({ issuer, cert, redirectEndpointPath: '/login', postEndpointPath: '/login', profileMapper: Profile });

/** What is said to a service in any case. */
function told(acs) {
  return { issuer, cert, key, recipient: acs, destination: acs };
}

/** Sends an answer that says who the person is. */
function accept(request, response, { issuer: service }) {
  const acs = PLACES[service];
  samlp.auth({
    ...told(acs),
    getPostURL: (_audience, _request, _req, done) => done(null, acs),
    profileMapper: (person) => new Profile(person),
    getUserFromRequest: ({ person }) => person,
    authnContextClassRef: 'urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken',
    sessionIndex: 'session-of-a-test',
    lifetimeInSeconds: 300,
  })(request, response, failed(response));
}

/** Sends one that says no. */
function refuse(request, response, { id, issuer: service }) {
  const acs = PLACES[service];
  const error = { code: 'urn:oasis:names:tc:SAML:2.0:status:Responder' };
  const said = { ...told(acs), inResponseTo: id, RelayState: request.query.RelayState, error };
  samlp.sendError({ ...said, getPostURL: (_request, done) => done(null, acs) })(request, response, failed(response));
}

function failed(response) {
  return (error) => response.writeHead(500).end(String(error));
}

/** Shows who is asked, or reads who answered. */
async function login(request, response) {
  if (request.method === 'GET') {
    return response.send('<h1>Provider</h1><form method="post"><input name="account"><button name="go" value="on">Log in</button></form>');
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  request.person = new URLSearchParams(body).get('account');
  samlp.parseRequest(request, (error, asked) => {
    if (error) return failed(response)(error);
    return (request.person in PEOPLE ? accept : refuse)(request, response, asked);
  });
}

/** What Express adds to a request and a response. */
function dressed(request, response) {
  const { pathname, searchParams } = new URL(request.url, url);
  Object.assign(request, { query: Object.fromEntries(searchParams), originalUrl: request.url, protocol: 'http', pathname });
  response.set = (name, value) => response.setHeader(name, value);
  response.send = (page) => {
    if (!response.hasHeader('content-type')) response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(page);
  };
  // Its form then says that it comes from nowhere, as that of another site may.
  response.setHeader('referrer-policy', 'no-referrer');
}

const listener = createServer((request, response) => {
  dressed(request, response);
  if (request.pathname === '/saml') return metadata(request, response);
  return login(request, response);
});
listener.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${url}`));
