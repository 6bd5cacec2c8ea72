// A person who logs an MCP client in: the SDK's `OAuthClientProvider`, its storage in memory and its browser scripted.
// LOGIN is {"person": NAME, "answer"?: "deny"} and how the client is known: {"id": ID} if it is registered already,
// {"document": URL} for a metadata document, or nothing, then it registers itself.

import { randomUUID } from 'node:crypto';

import { browse } from './browser.mjs';

/** Nobody listens there: the scripted browser stops before. */
const REDIRECT = 'http://127.0.0.1:1/callback';

export class Person {
  #login;
  #kept = {};
  #state;
  #seen;

  constructor(login) {
    this.#login = login;
    this.clientMetadataUrl = login.document;
    if (login.id) this.#kept.client = { client_id: login.id };
  }

  get redirectUrl() { return REDIRECT; }
  get clientMetadata() {
    return {
      client_name: 'A <scripted> client',
      redirect_uris: [REDIRECT],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    };
  }
  state() { return (this.#state = randomUUID()); }
  clientInformation() { return this.#kept.client; }
  saveClientInformation(client) { this.#kept.client = client; }
  tokens() { return this.#kept.tokens; }
  saveTokens(tokens) { this.#kept.tokens = tokens; }
  saveCodeVerifier(verifier) { this.#kept.verifier = verifier; }
  codeVerifier() { return this.#kept.verifier; }
  saveDiscoveryState(found) { this.#kept.found = found; }
  discoveryState() { return this.#kept.found; }
  async redirectToAuthorization(url) { this.#seen = await browse(url, REDIRECT, this.#login.person, this.#login.answer); }

  /** What came back with the browser: for `finishAuth`. */
  answer() {
    const answer = this.#seen.url.searchParams;
    if (answer.get('state') !== this.#state) throw new Error('the state is not ours');
    return answer;
  }

  /** What to tell of the login: the pages that were seen, what was given, and as whom. */
  told() {
    const { client, tokens } = this.#kept;
    return { client: client.client_id, pages: this.#seen.pages, access: tokens.access_token, refresh: tokens.refresh_token };
  }

  /** Loses the access token, as time does. */
  spoil() { this.#kept.tokens = { ...this.#kept.tokens, access_token: `${this.#kept.tokens.access_token}x` }; }
}
