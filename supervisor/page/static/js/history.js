// @ts-check
/** Folds events into what the page shows of the past: states over time, and what interrupted the service. Pure. */

/** Bounds: a page is left open for weeks. */
const MAX_SPANS = 400;
const MAX_INCIDENTS = 100;

/**
 * @typedef {object} Span a time in one state
 * @property {string} state
 * @property {number} from ms since the epoch
 * @property {number | null} to null: still
 */

/**
 * @typedef {object} Incident a break in the service, from its cause to being ready again
 * @property {number} id
 * @property {"restart" | "broken" | "instance" | "error"} kind
 * @property {number} at ms since the epoch
 * @property {string} code of the failure; empty where there was none
 * @property {string} reason
 * @property {string} hint
 * @property {readonly string[]} lines the sidecar's last words
 * @property {number | null} restart its number
 * @property {number | null} launch the one that took over
 * @property {number | null} recoveredAt
 * @property {boolean} isSuperseded another one followed before it was ready again
 */

/** @typedef {Record<string, any>} Line */

const SERVING = new Set(["ready", "suspect"]);

/** Kinds that a `startup:error` line says more about. */
const FINAL = new Set(["broken", "error"]);

/** What a failure is, by the state it led to. @type {Readonly<Record<string, Incident["kind"]>>} */
const KINDS = { broken: "broken", stopped: "error" };

export class History {
  /** @type {Span[]} */
  spans = [];
  /** Oldest first. @type {Incident[]} */
  incidents = [];
  /** The last `startup:error` since it was ready. @type {Line | null} */
  error = null;
  /** The last state that was told. @type {Line | null} */
  last = null;
  #ids = 0;
  #restarts = 0;
  /** Since when nothing is served; null while it is. @type {number | null} */
  #downSince = null;

  /**
   * Take a `supervisor:state` line.
   * @param {Line} line
   */
  state(line) {
    const at = Date.parse(line["time"]);
    const restarts = Number(line["restarts"] ?? 0);
    const isFirst = this.last === null; // earlier ones may no longer be kept: their restarts are not this one's news
    this.#enter(line["state"], at);
    this.last = line;
    if (SERVING.has(line["state"])) this.#downSince = null;
    else this.#downSince ??= at;
    if (line["code"]) this.#open({ ...failure(line), kind: KINDS[line["state"]] ?? "restart", at });
    if (restarts > this.#restarts && !isFirst) this.#launched(line, restarts, at);
    this.#restarts = restarts;
    if (line["state"] === "ready") this.#recovered(at);
  }

  /**
   * Take a `startup:error` line: the end of the supervisor, or the words of an open breaker.
   * @param {Line} line
   */
  failed(line) {
    this.error = line;
    const at = Date.parse(line["time"]);
    const open = this.incidents.at(-1);
    if (open && open.recoveredAt === null && FINAL.has(open.kind)) Object.assign(open, failure(line));
    else this.#open({ ...failure(line), kind: "error", at });
  }

  /**
   * Another instance of the supervisor has taken over; what the last one told is kept.
   * @param {number} at ms since the epoch
   */
  replaced(at) {
    this.#enter("unknown", this.spans.at(-1)?.to ?? at);
    this.#restarts = 0;
    this.#downSince = null;
    this.error = null;
    this.last = null;
    this.#open({ kind: "instance", at, code: "", reason: "The supervisor itself was started anew.", hint: "", lines: [] });
  }

  /**
   * Nothing is known from now on.
   * @param {number} at ms since the epoch
   */
  lost(at) {
    this.#enter("unknown", at);
  }

  /** The state goes on as it was before the line was lost, unless events tell otherwise. */
  found() {
    if (this.last === null) return; // another instance: what the one before was in says nothing of it
    const [before, unknown] = this.spans.slice(-2);
    if (before && unknown?.state === "unknown" && unknown.to === null) {
      this.spans.pop();
      before.to = null;
    }
  }

  /**
   * @param {string} state
   * @param {number} at
   */
  #enter(state, at) {
    const span = this.spans.at(-1);
    if (span?.state === state && span.to === null) return;
    if (span && span.to === null) span.to = Math.max(at, span.from);
    this.spans.push({ state, from: Math.max(at, span?.from ?? at), to: null });
    if (this.spans.length > MAX_SPANS) this.spans.shift();
  }

  /**
   * A launch took the place of another: it ends the wait of the incident before it, or is one itself.
   * @param {Line} line
   * @param {number} restarts
   * @param {number} at
   */
  #launched(line, restarts, at) {
    const open = this.incidents.at(-1);
    const took = { restart: restarts, launch: Number(line["launch"]) };
    if (open && open.recoveredAt === null && open.restart === null && open.kind !== "instance") Object.assign(open, took);
    else this.#open({ ...failure(line), ...took, kind: "restart", at: this.#downSince ?? at });
  }

  /**
   * @param {Pick<Incident, "kind" | "at" | "code" | "reason" | "hint" | "lines"> & Partial<Incident>} incident
   */
  #open(incident) {
    const before = this.incidents.at(-1);
    if (before?.recoveredAt === null) before.isSuperseded = true;
    this.#ids += 1;
    const blank = { restart: null, launch: null, recoveredAt: null, isSuperseded: false };
    this.incidents.push({ ...blank, ...incident, id: this.#ids });
    if (this.incidents.length > MAX_INCIDENTS) this.incidents.shift();
  }

  /** @param {number} at */
  #recovered(at) {
    const open = this.incidents.at(-1);
    if (open) open.recoveredAt ??= at;
    this.error = null;
  }
}

/** @param {Line} line */
function failure(line) {
  const details = line["details"] ?? {};
  const lines = Array.isArray(details.last_lines) ? details.last_lines.map(String) : [];
  return {
    code: String(line["code"] ?? ""),
    reason: String(line["reason"] || line["message"] || ""),
    hint: String(line["hint"] ?? ""),
    lines,
  };
}
