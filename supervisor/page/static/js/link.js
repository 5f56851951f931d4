// @ts-check
/**
 * The line to the supervisor: proves which instance answers, follows its events, and comes back when it does.
 *
 * `fetch` reads the stream, not `EventSource`: only so can it carry a token, choose where to go on after a new
 * instance took the address, and tell a refusal from a silence.
 */

import { asCallError } from "./api.js";
import { EventParser } from "./sse.js";

/** The stream speaks at least every 15 s. */
const SILENCE_MS = 45_000;

/** Waits between tries; the last one repeats. */
const WAITS_MS = [250, 500, 1_000, 2_000, 4_000];

/** How often health is asked for while the rest needs a token. */
const LOCKED_MS = 2_000;

/**
 * @typedef {"connecting" | "live" | "lost" | "locked"} Phase
 * locked: it answers, and wants a token for all but its health
 */

/**
 * @typedef {object} Heard what the rest of the page is told
 * @property {(health: any) => void} health an answer of `/health`
 * @property {(nonce: string) => void} instance another instance answers; forget what the last one said
 * @property {(message: import("./sse.js").Message) => void} message
 * @property {() => void} change of `phase`, `since`, `retryAt` or `problem`
 */

export class Link {
  /** @type {Phase} */
  phase = "connecting";
  /** When the phase began; ms since the epoch. */
  since = Date.now();
  /** When it is tried again; null while it is being tried. @type {number | null} */
  retryAt = null;
  /** Why it was lost or locked. @type {import("./api.js").CallError | null} */
  problem = null;

  #api;
  #heard;
  #nonce = "";
  #lastId = "";
  #failures = 0;
  /** Ends the wait before the next try. */
  #wake = () => {};
  /** Ends the stream that is open. */
  #cut = () => {};

  /**
   * @param {import("./api.js").Api} api
   * @param {Heard} heard
   */
  constructor(api, heard) {
    this.#api = api;
    this.#heard = heard;
  }

  /** Follow for ever. */
  async run() {
    for (;;) {
      const problem = await this.#follow().then(() => null, asCallError);
      if (problem?.needsToken) await this.#pause("locked", problem, LOCKED_MS);
      else await this.#pause("lost", problem, WAITS_MS[Math.min(this.#failures++, WAITS_MS.length - 1)] ?? 0);
    }
  }

  /** Try now rather than at the next turn; does nothing while the line stands. */
  tryNow() {
    this.#failures = 0;
    this.#wake();
  }

  /**
   * Begin anew when another instance than ours answered a call; its events would otherwise be missed.
   * @param {string} nonce
   */
  check(nonce) {
    if (this.phase === "live" && nonce !== this.#nonce) this.#cut();
  }

  async #follow() {
    const health = await this.#api.json("/health", { accept: [503] });
    this.#heard.health(health);
    if (health.nonce !== this.#nonce) {
      this.#nonce = String(health.nonce);
      this.#lastId = "";
      this.#heard.instance(this.#nonce);
    }
    const cut = new AbortController();
    this.#cut = () => cut.abort();
    /** @type {Record<string, string>} */
    const headers = this.#lastId === "" ? {} : { "Last-Event-ID": this.#lastId };
    const answer = await this.#api.open("/supervisor/events", { headers, signal: cut.signal, timeoutMs: null });
    this.#enter("live", null, null);
    this.#failures = 0;
    await this.#read(answer, cut);
  }

  /**
   * @param {Response} answer
   * @param {AbortController} cut
   */
  async #read(answer, cut) {
    const parser = new EventParser();
    const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
    const decoder = new TextDecoder();
    let silence = 0;
    try {
      for (;;) {
        silence = setTimeout(() => cut.abort(), SILENCE_MS);
        const { value, done } = await reader.read();
        clearTimeout(silence);
        if (done) return;
        for (const message of parser.push(decoder.decode(value, { stream: true }))) {
          this.#lastId = message.id;
          this.#heard.message(message);
        }
      }
    } finally {
      clearTimeout(silence);
      cut.abort();
    }
  }

  /**
   * @param {Phase} phase
   * @param {import("./api.js").CallError | null} problem
   * @param {number} ms
   */
  async #pause(phase, problem, ms) {
    this.#enter(phase, problem, Date.now() + ms);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.retryAt = null;
    this.#heard.change();
  }

  /**
   * @param {Phase} phase
   * @param {import("./api.js").CallError | null} problem
   * @param {number | null} retryAt
   */
  #enter(phase, problem, retryAt) {
    if (phase !== this.phase) this.since = Date.now();
    this.phase = phase;
    this.problem = problem;
    this.retryAt = retryAt;
    this.#heard.change();
  }
}
