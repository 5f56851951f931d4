// @ts-check
/** Asks, again and again, for what no event tells: counters, memory, the log's end. */

import { asCallError } from "./api.js";

/** @typedef {import("./api.js").CallError} CallError */

/**
 * Runs `ask` every so often, one at a time, while it may; a failure is told and ends nothing.
 */
export class Poller {
  #ask;
  #failed;
  #everyMs;
  #isRunning = false;
  #isAsking = false;
  #timer = 0;

  /**
   * @param {number} everyMs
   * @param {() => Promise<void>} ask
   * @param {(error: CallError) => void} failed
   */
  constructor(everyMs, ask, failed) {
    this.#everyMs = everyMs;
    this.#ask = ask;
    this.#failed = failed;
  }

  /** @param {boolean} mayRun */
  run(mayRun) {
    if (mayRun === this.#isRunning) return;
    this.#isRunning = mayRun;
    if (mayRun) this.now();
    else clearTimeout(this.#timer);
  }

  /** Ask at once, unless it is being done or may not be. */
  now() {
    if (!this.#isRunning || this.#isAsking) return;
    clearTimeout(this.#timer);
    void this.#once();
  }

  async #once() {
    const began = performance.now();
    this.#isAsking = true;
    await this.#ask().catch((error) => this.#failed(asCallError(error)));
    this.#isAsking = false;
    if (!this.#isRunning) return;
    const wait = Math.max(this.#everyMs / 4, this.#everyMs - (performance.now() - began));
    this.#timer = setTimeout(() => this.now(), wait);
  }
}
