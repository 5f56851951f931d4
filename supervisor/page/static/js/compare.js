// @ts-check
/** Embeds two texts and shows how near they are. */

import { asCallError } from "./api.js";
import { byId, make, show } from "./dom.js";
import { count, span } from "./format.js";

/** @typedef {import("./api.js").Api} Api */

/** Longer than the supervisor lets a call wait through a restart. */
const TIMEOUT_MS = 60_000;

export class Compare {
  /** @type {HTMLFormElement} */
  #form = byId("compare");
  /** @type {HTMLTextAreaElement[]} */
  #texts = [byId("text-a"), byId("text-b")];
  /** @type {HTMLButtonElement} */
  #run = byId("compare-run");
  #cancel = byId("compare-cancel");
  #outcome = byId("cosine");
  #stop = new AbortController();
  #api;

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#compare();
    });
    this.#form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    this.#cancel.addEventListener("click", () => this.#stop.abort());
  }

  async #compare() {
    if (this.#run.disabled) return;
    this.#stop = new AbortController();
    this.#busy(true);
    this.#outcome.replaceChildren(make("span", { class: "quiet" }, "Embedding…"));
    const began = performance.now();
    try {
      const texts = this.#texts.map(({ value }) => value);
      const body = { texts, normalize: true, priority: "interactive" };
      const call = { method: "POST", body, signal: this.#stop.signal, timeoutMs: TIMEOUT_MS };
      const answer = await this.#api.json("/embed", call);
      this.#outcome.replaceChildren(...result(answer, performance.now() - began));
    } catch (error) {
      const { message, code, hint } = asCallError(error);
      this.#outcome.replaceChildren(make("span", { class: "alert" }, message), make("span", { class: "quiet" }, `${hint} (${code})`.trim()));
    } finally {
      this.#busy(false);
    }
  }

  /** @param {boolean} isBusy */
  #busy(isBusy) {
    const hadFocus = document.activeElement === this.#cancel;
    this.#run.disabled = isBusy;
    show(this.#cancel, isBusy);
    if (hadFocus && !isBusy) this.#run.focus();
  }
}

/**
 * @param {any} answer of `/embed`
 * @param {number} ms
 * @returns {Node[]}
 */
function result({ vectors: [a, b], dim, usage, truncated }, ms) {
  const near = cosine(a, b);
  const cut = truncated.map((/** @type {number} */ index) => (index === 0 ? "The first text was cut." : "The second text was cut."));
  const about = [`${dim} dimensions`, count(usage.tokens, "token"), span(ms / 1000)].join(" · ");
  return [
    make("span", { class: "cosine numbers" }, `Cosine ${near.toFixed(4)}`),
    make("meter", { min: "-1", max: "1", value: String(near), "aria-hidden": "true" }),
    make("span", { class: "quiet numbers" }, [about, ...cut].join(" · ")),
  ];
}

/**
 * Of vectors of length 1.
 * @param {readonly number[]} a
 * @param {readonly number[]} b
 */
export function cosine(a, b) {
  return a.reduce((sum, value, index) => sum + value * (b[index] ?? NaN), 0);
}
