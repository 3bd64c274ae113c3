// Requests to /v1, and its streams of events.

import { setClock } from './text.js';

const KEY = 'pirn.token';

/** The token of this tab. It is never part of an address. */
export const token = {
  get: () => sessionStorage.getItem(KEY) ?? '',
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** What the server refused, or that it did not answer (status 0). */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function problem(reply) {
  const text = await reply.text().catch(() => '');
  try {
    const { detail, title } = JSON.parse(text);
    return new Problem(reply.status, detail ?? title ?? reply.statusText);
  } catch {
    return new Problem(reply.status, `the server answered ${reply.status} ${reply.statusText}`.trim());
  }
}

/** Asks; gives the response. A body is JSON, or JSON text. Errors: Problem, AbortError. */
export async function ask(method, path, { body, headers = {}, signal } = {}) {
  const all = { ...headers };
  if (token.get()) all.Authorization = `Bearer ${token.get()}`;
  if (body !== undefined) all['Content-Type'] = 'application/json';
  let reply;
  try {
    const how = { method, headers: all, signal, cache: 'no-store', credentials: 'omit', redirect: 'error' };
    reply = await fetch(path, { ...how, body: body === undefined || typeof body === 'string' ? body : JSON.stringify(body) });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Problem(0, 'the server cannot be reached');
  }
  const date = reply.headers.get('date');
  if (date) setClock(date);
  if (!reply.ok) throw await problem(reply);
  return reply;
}

/** Asks; gives the JSON of the answer. */
export async function api(method, path, options) {
  const reply = await ask(method, path, options);
  return reply.status === 204 ? null : reply.json();
}

/** The path of a job. */
export const pathOf = (id, rest = '') => `/v1/jobs/${encodeURIComponent(id)}${rest}`;

async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const blocks = (text + value).split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      const event = { name: 'message', id: null, data: [] };
      for (const line of block.split('\n')) {
        if (line.startsWith('data: ')) event.data.push(line.slice(6));
        else if (line.startsWith('event: ')) event.name = line.slice(7);
        else if (line.startsWith('id: ')) event.id = line.slice(4);
      }
      if (event.data.length) yield { ...event, data: event.data.join('\n') };
    }
  }
}

// The server says something every 15 seconds. A browser has six connections for all tabs: a page that nobody looks at
// gives its own back after a while, one that was left for another at once (it may be kept, to be shown again).
const SILENCE = 40_000;
const UNSEEN = 20_000;

const streams = new Set();
let unseen;
document.addEventListener('visibilitychange', () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(() => streams.forEach((s) => s.cut()), UNSEEN);
  else streams.forEach((s) => s.hurry());
});
addEventListener('pagehide', () => streams.forEach((s) => s.cut()));
addEventListener('pageshow', () => streams.forEach((s) => s.hurry()));
addEventListener('online', () => streams.forEach((s) => s.hurry()));

/** A stream of events that comes back when it is cut off. (EventSource could send no token.) */
export class Stream {
  /**
   * `path()` is asked each time; `heard(event)` gives true when that was all; `changed(state, problem)` is told
   * `live`, `waiting` (and why) or `refused` (and why): then it is over.
   */
  constructor(path, heard, changed = () => {}) {
    Object.assign(this, { path, heard, changed, closed: false, hurry: () => {}, cut: () => {} });
    streams.add(this);
    this.run();
  }

  close() {
    this.closed = true;
    streams.delete(this);
    this.cut();
    this.hurry();
  }

  async run() {
    for (let tries = 0; !this.closed; tries += 1) {
      const why = await this.once(() => (tries = 0));
      if (this.closed) return;
      if (why instanceof Problem && why.status >= 400 && why.status < 500 && ![408, 429].includes(why.status)) {
        this.changed('refused', why);
        return this.close();
      }
      if (!document.hidden) this.changed('waiting', why);
      const pause = Math.min(15_000, 400 * 2 ** Math.min(tries, 9)) * (0.75 + Math.random() / 2);
      await new Promise((resolve) => {
        this.hurry = resolve;
        if (!document.hidden) setTimeout(resolve, pause);
      });
    }
  }

  async once(live) {
    const controller = new AbortController();
    let silence;
    this.cut = () => controller.abort();
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(this.cut, SILENCE);
    };
    try {
      alive();
      const reply = await ask('GET', this.path(), { signal: controller.signal, headers: { Accept: 'text/event-stream' } });
      if (reply.status === 204) return this.close();
      for await (const event of events(reply.body, alive)) {
        if (this.closed) return;
        live();
        this.changed('live');
        if (this.heard(event)) return this.close();
      }
    } catch (e) {
      return e;
    } finally {
      clearTimeout(silence);
      controller.abort();
    }
  }
}
