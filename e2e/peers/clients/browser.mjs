// Whoever sits at the browser: follows redirects, keeps cookies, fills forms in and sends them as browsers do. For clients
// in other languages: `node browser.mjs START STOP PERSON [ANSWER]` prints what `browse` gives.

/** Pages and hops until a login leads to `stop`; more are a loop. */
const STEPS = 30;

/** Goes from `start` on until the browser is sent to `stop`, or, if that is empty, to the page that a pressed `answer` led to;
 * gives that URL and the pages seen. Every field is filled in with `person`, or with what that says of the field if it is JSON, and
 * of several buttons the one of value `answer` is pressed, else the first. */
export async function browse(start, stop, person, answer = 'allow') {
  const jar = [];
  const pages = [];
  let request = { url: new URL(start), method: 'GET' };
  for (let step = 0; step < STEPS; step += 1) {
    const response = await send(request, jar);
    const location = response.headers.get('location');
    if (location) {
      const url = new URL(location, request.url);
      if (stop && url.href.startsWith(stop)) return { url, pages };
      request = { url, method: 'GET', answered: request.answered };
      continue;
    }
    const page = await response.text();
    pages.push(page);
    if (!stop && request.answered) return { url: request.url, pages };
    const on = /<meta http-equiv="refresh" content="0;url=([^"]*)">/.exec(page);
    if (on) {
      request = { url: new URL(on[1], request.url), method: 'GET' };
      continue;
    }
    if (!response.ok) throw new Error(`${response.status} at ${request.url.pathname}: ${page}`);
    request = submitted(request.url, page, { person, answer, referrers: response.headers.get('referrer-policy') });
  }
  throw new Error(`no end after ${STEPS} steps`);
}

async function send({ url, method, body, origin }, jar) {
  // A form of another site comes without cookies (`SameSite=Lax`); here each port is a site.
  const foreign = method === 'POST' && origin !== url.origin;
  const headers = { accept: 'text/html', cookie: foreign ? '' : cookies(jar, url) };
  if (origin) headers.origin = origin;
  const response = await fetch(url, { method, body, headers, redirect: 'manual' });
  for (const line of response.headers.getSetCookie()) keep(jar, url, line);
  return response;
}

/** The form of a page, sent. A page without referrers sends `null` as its origin (Fetch, "serialized request origin"). */
function submitted(url, page, { person, answer, referrers }) {
  const form = /<form([^>]*)>([\s\S]*?)<\/form>/.exec(page);
  if (!form) throw new Error(`a page without a form: ${page}`);
  const body = new URLSearchParams();
  for (const [tag] of form[2].matchAll(/<input[^>]*\bname=[^>]*>/g)) {
    const name = attribute(tag, 'name');
    // Boxes are left unchecked.
    if (attribute(tag, 'type') !== 'checkbox') body.append(name, attribute(tag, 'value') ?? filled(person, name));
  }
  const buttons = [...form[2].matchAll(/<button[^>]*>/g)].map(([tag]) => tag);
  const pressed = buttons.find((tag) => attribute(tag, 'value') === answer) ?? buttons[0];
  // A form without buttons is one that a script sends.
  if (pressed && attribute(pressed, 'name')) body.append(attribute(pressed, 'name'), attribute(pressed, 'value'));
  const origin = referrers === 'no-referrer' ? 'null' : url.origin;
  return { url: new URL(attribute(form[1], 'action') ?? '', url), method: 'POST', body, origin, answered: attribute(pressed ?? '', 'value') === answer };
}

/** What somebody types into a field. */
function filled(person, name) {
  return person.startsWith('{') ? JSON.parse(person)[name] : person;
}

function attribute(tag, name) {
  return new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1];
}

/** Cookies are of a host, whatever the port (RFC 6265 §8.5). */
function cookies(jar, { hostname, pathname }) {
  const sent = jar.filter((one) => one.hostname === hostname && pathname.startsWith(one.path));
  return sent.map(({ name, value }) => `${name}=${value}`).join('; ');
}

function keep(jar, { hostname }, line) {
  const [pair, ...rest] = line.split(';').map((part) => part.trim());
  const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
  const said = (what) => rest.find((part) => part.toLowerCase().startsWith(`${what}=`))?.slice(what.length + 1);
  const path = said('path') ?? '/';
  const known = jar.findIndex((one) => one.name === name && one.hostname === hostname && one.path === path);
  if (known >= 0) jar.splice(known, 1);
  const gone = said('max-age') === '0' || new Date(said('expires') ?? '9999-01-01') < new Date();
  if (!gone) jar.push({ hostname, name, value, path });
}

if (import.meta.main) {
  const { url, pages } = await browse(...process.argv.slice(2));
  console.log(JSON.stringify({ url, pages }));
}
