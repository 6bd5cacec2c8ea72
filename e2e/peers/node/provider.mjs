// An OpenID provider for the tests, on panva's. Usage: node provider.mjs PORT GATEWAY [KEY [CONSOLE]]; prints `listening on URL`.
// People type who they are; each has a group. `POST /rotate` withdraws all keys and makes new ones. The gateway is a client for
// itself too: by a secret or, where KEY (a public JWK) is given, by that key; and it may exchange its callers' tokens (RFC 8693).

import { createPublicKey, generateKeyPairSync, randomUUID, verify } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const [port, gateway, key, desk = gateway] = process.argv.slice(2);
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const issuer = `http://127.0.0.1:${port}`;

const PEOPLE = { mira: ['tellers', 'staff'], otto: ['guests'] };
const ROBOTS = { robot: ['tellers'], 'robot-ec': ['tellers'], brief: ['tellers'], intern: [] };

/** Seconds that tokens hold; those of one robot end while somebody looks. */
const LIFE = { brief: 10 };

const robots = Object.keys(ROBOTS).map((client_id) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
}));
const portal = {
  client_id: 'portal',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1:1/portal'],
};
const tollbook = {
  client_id: 'tollbook',
  client_secret: 'canary-of-the-client-secret',
  redirect_uris: [`${gateway}/oauth/callback`],
};

const operators = {
  client_id: 'console',
  client_secret: 'canary-of-the-console-secret',
  redirect_uris: [`${desk}/login/callback`],
};

const upstream = {
  client_id: 'gateway',
  grant_types: ['client_credentials', EXCHANGE],
  redirect_uris: [],
  response_types: [],
  ...(key
    ? { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [JSON.parse(key)] } }
    : { client_secret: 'canary-of-the-upstream-secret' }),
};

/** Keys as a JWK set: one for each algorithm. */
function fresh() {
  const pairs = [
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ];
  return { keys: pairs.map(([alg, { privateKey }]) => ({ ...privateKey.export({ format: 'jwk' }), alg, kid: randomUUID(), use: 'sig' })) };
}

function provider(jwks) {
  const made = new Provider(issuer, {
    jwks,
    clients: [...robots, portal, tollbook, upstream, operators],
    cookies: { keys: ['a key for a test'] },
    scopes: ['openid', 'groups'],
    claims: { openid: ['sub'], groups: ['groups'] },
    // As most corporate providers do: the ID token says it all.
    conformIdTokenClaims: false,
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub, groups: PEOPLE[sub] }) }),
    extraTokenClaims: (_, token) => ({ groups: ROBOTS[token.clientId] }),
    interactions: { url: (_, { uid }) => `/login/${uid}` },
    loadExistingGrant,
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: (_, audience, client) => resource(audience, client) },
    },
  });
  made.registerGrantType(EXCHANGE, (context) => exchange(context, jwks), ['subject_token', 'subject_token_type', 'resource', 'scope']);
  return made;
}

/** A token for a resource in exchange for one of ours, or for the gateway's word. */
async function exchange(context, jwks) {
  const { client, params, provider: made } = context.oidc;
  const [header, payload, signature] = params.subject_token.split('.');
  const { kid, alg } = JSON.parse(Buffer.from(header, 'base64url'));
  const { iss, sub } = JSON.parse(Buffer.from(payload, 'base64url'));
  const { keys } = iss === issuer ? jwks : await fetch(`${gateway}/oauth/keys`).then((answer) => answer.json());
  const signer = createPublicKey({ key: keys.find((one) => one.kid === kid), format: 'jwk' });
  const by = alg === 'EdDSA' ? null : 'sha256';
  const how = { key: signer, dsaEncoding: 'ieee-p1363' };
  if (!verify(by, Buffer.from(`${header}.${payload}`), how, Buffer.from(signature, 'base64url'))) {
    context.throw(400, 'invalid_grant');
  }
  const token = new made.AccessToken({ accountId: sub, client, gty: 'token_exchange', scope: '' });
  token.resourceServer = new made.ResourceServer(params.resource, resource(params.resource, client));
  context.body = {
    access_token: await token.save(),
    expires_in: token.expiration,
    token_type: 'Bearer',
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  };
}

function resource(audience, client) {
  const alg = client.clientId === 'robot-ec' ? 'ES256' : 'RS256';
  return { scope: '', audience, accessTokenFormat: 'jwt', accessTokenTTL: LIFE[client.clientId] ?? 600, jwt: { sign: { alg } } };
}

/** Everybody has agreed to every client here: asking is the gateway's own affair. */
async function loadExistingGrant({ oidc }) {
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope('openid groups');
  await grant.save();
  return grant;
}

/** Shows who is asked, or reads who answered. */
async function login(request, response) {
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    return response.end('<h1>Provider</h1><form method="post"><input name="account"><button name="go" value="on">Log in</button></form>');
  }
  const account = new URLSearchParams(await text(request)).get('account');
  const result = account in PEOPLE ? { login: { accountId: account } } : { error: 'access_denied' };
  return current.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

async function text(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return body;
}

let current = provider(fresh());
const listener = createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    current = provider(fresh());
    return response.end('rotated');
  }
  if (request.url.startsWith('/login/')) return login(request, response);
  return current.callback()(request, response);
});
// Connections stay until the other side closes them: a timer that is late would close one in use.
listener.keepAliveTimeout = 0;
listener.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${issuer}`));
