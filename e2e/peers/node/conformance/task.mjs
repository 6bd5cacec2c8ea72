// One task: a job that goes on after its call was answered, and what a client may learn of it meanwhile.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import { ProtocolErrorCode } from '@modelcontextprotocol/server';

/** How long a task can be asked for: longer than any job of the scenarios takes. */
export const TTL_MS = 300_000;

/** Short, so that clients that keep to it do not make a test slow. */
const POLL_MS = 100;

export class Task {
  id = randomUUID();
  #createdAt = new Date().toISOString();
  #lastUpdatedAt = this.#createdAt;
  #state = { status: 'working' };
  #given = {};
  #resume;
  #stop = new AbortController();

  /** Starts `job`, an async function of the task: its result completes the task, an error that it throws fails it. */
  constructor(job) {
    job(this).then(
      (result) => this.#become({ status: 'completed', result }),
      ({ code = ProtocolErrorCode.InternalError, message }) =>
        this.#become({ status: 'failed', statusMessage: message, error: { code, message } }),
    );
  }

  /** What the call that created the task is answered with: not the fields that only some states have. */
  get created() {
    return { resultType: 'task', ...this.#about, status: this.#state.status };
  }

  /** What `tasks/get` is answered with. */
  get detailed() {
    return { ...this.#about, ...this.#state };
  }

  get #about() {
    const times = { createdAt: this.#createdAt, lastUpdatedAt: this.#lastUpdatedAt };
    return { taskId: this.id, ...times, ttlMs: TTL_MS, pollIntervalMs: POLL_MS };
  }

  /** For the job: passes time, unless the task is cancelled. */
  sleep(seconds) {
    return sleep(seconds * 1000, undefined, { signal: this.#stop.signal });
  }

  /** For the job: the responses to `inputRequests`, by key, once the client has given all of them. */
  ask(inputRequests) {
    this.#become({ status: 'input_required', inputRequests });
    return new Promise((resolve) => (this.#resume = resolve));
  }

  /** Takes the client's responses; those to a key that is not open are ignored, as the specification advises. */
  answer(responses) {
    const open = { ...this.#state.inputRequests };
    const keys = Object.keys(responses).filter((key) => Object.hasOwn(open, key));
    if (keys.length === 0) return;
    for (const key of keys) {
      this.#given[key] = responses[key];
      delete open[key];
    }
    if (Object.keys(open).length > 0) return this.#become({ status: 'input_required', inputRequests: open });
    this.#become({ status: 'working' });
    this.#resume(this.#given);
  }

  cancel() {
    this.#become({ status: 'cancelled' });
    this.#stop.abort();
  }

  /** A task that is over stays as it is: neither a late cancellation nor the end of a cancelled job changes it. */
  #become(state) {
    if (['completed', 'failed', 'cancelled'].includes(this.#state.status)) return;
    this.#state = state;
    this.#lastUpdatedAt = new Date().toISOString();
  }
}
