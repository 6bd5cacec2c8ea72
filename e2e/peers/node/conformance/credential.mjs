// Preloaded into the conformance suite, which cannot be told a credential: each request to the origin ORIGIN presents
// CREDENTIAL, unless it presents one itself. The suite asks through undici, `fetch` and `http.request`.

import http from 'node:http';

import { getGlobalDispatcher, setGlobalDispatcher } from 'undici';

const { ORIGIN, CREDENTIAL } = process.env;
const presented = `Bearer ${CREDENTIAL}`;

/** Node's own `fetch` goes through the same dispatcher. */
setGlobalDispatcher(
  getGlobalDispatcher().compose((dispatch) => (options, handler) => {
    if (String(options.origin) !== ORIGIN) return dispatch(options, handler);
    return dispatch({ ...options, headers: withCredential(options.headers ?? []) }, handler);
  }),
);

/** Headers come as one flat list, as pairs or as an object. */
function withCredential(headers) {
  const flat = Array.isArray(headers) ? headers.flat() : [...(headers.entries?.() ?? Object.entries(headers))].flat();
  const names = flat.filter((_, index) => index % 2 === 0);
  if (names.some((name) => String(name).toLowerCase() === 'authorization')) return flat;
  return [...flat, 'authorization', presented];
}

const { request } = http;
http.request = (...given) => {
  const asked = request(...given);
  const known = asked.hasHeader('authorization') || asked.headersSent;
  if (!known && `http://${asked.getHeader('host')}` === ORIGIN) asked.setHeader('authorization', presented);
  return asked;
};
