// @ts-check
/** The preflight report, on demand: what is wrong comes first, with what to do about it. */

import { asCallError } from "./api.js";
import { byId, make } from "./dom.js";
import { count, span } from "./format.js";

/** @typedef {import("./api.js").Api} Api */
/** @typedef {"error" | "warning" | "skipped" | "ok"} Status */
/** @typedef {{ id: string, status: Status, code: string | null, message: string, hint: string }} Check */

const TIMEOUT_MS = 60_000;

/** Worst first. @type {readonly Status[]} */
const ORDER = ["error", "warning", "skipped", "ok"];

/** @type {Readonly<Record<Status, string>>} */
const SAID = { error: "Error", warning: "Warning", skipped: "Skipped", ok: "Good" };

export class Doctor {
  #place = byId("doctor");
  /** @type {HTMLButtonElement} */
  #run = byId("doctor-run");
  #api;

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
    this.#run.addEventListener("click", () => void this.#examine());
  }

  async #examine() {
    if (this.#run.getAttribute("aria-disabled") === "true") return;
    this.#run.setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
    this.#place.replaceChildren(make("p", { class: "quiet" }, "Examining…"));
    try {
      this.#place.replaceChildren(...report(await this.#api.json("/supervisor/doctor", { timeoutMs: TIMEOUT_MS })));
    } catch (error) {
      const { message, hint } = asCallError(error);
      this.#place.replaceChildren(make("p", { class: "alert" }, message), make("p", { class: "quiet" }, hint));
    } finally {
      this.#run.removeAttribute("aria-disabled");
    }
  }
}

/**
 * @param {{ checks: Check[], duration_ms: number }} report
 * @returns {Node[]}
 */
function report({ checks, duration_ms: ms }) {
  const sorted = [...checks].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status));
  const notable = sorted.filter(({ status }) => status === "error" || status === "warning");
  const rest = sorted.filter((check) => !notable.includes(check));
  /** @type {Node[]} */
  const parts = [make("p", {}, summary(notable, checks.length, ms)), list(notable)];
  if (rest.length > 0) {
    parts.push(make("details", {}, make("summary", {}, `${count(rest.length, "check")} with nothing to do`), list(rest)));
  }
  return parts;
}

/**
 * @param {readonly Check[]} notable
 * @param {number} total
 * @param {number} ms
 */
function summary(notable, total, ms) {
  const errors = notable.filter(({ status }) => status === "error").length;
  const warnings = notable.length - errors;
  const found = [errors && count(errors, "error"), warnings && count(warnings, "warning")].filter(Boolean).join(", ");
  return `${found || "All good"}: ${count(total, "check")} in ${span(ms / 1000)}.`;
}

/** @param {readonly Check[]} checks */
function list(checks) {
  return make("ul", { class: "checks" }, ...checks.map(item));
}

/** @param {Check} check */
function item({ id, status, message, hint, code }) {
  const head = make("p", {}, make("strong", {}, SAID[status] ?? status), " ", make("code", {}, id));
  const parts = [head, make("p", {}, message)];
  if (hint && status !== "ok") parts.push(make("p", { class: "hint" }, hint));
  if (code) parts.push(make("p", { class: "quiet" }, make("code", {}, code)));
  return make("li", { "data-status": status }, ...parts);
}
