// @ts-check
/** All that the page knows; views read it, the link and the poller change it. No network, no document. */

import { History } from "./history.js";
import { Sampler, Series } from "./samples.js";
import { Startup } from "./startup.js";

/** Points kept: an hour at one every two seconds. */
const POINTS = 1_800;

/** @typedef {Record<string, any>} Json */

export class Model {
  history = new History();
  startup = new Startup();
  series = new Series(POINTS);
  sampler = new Sampler();
  /** The last answer of `/supervisor/status`; null while there is none. @type {Json | null} */
  status = null;
  /** When that came, ms since the epoch. */
  statusAt = 0;
  /** The last answer of `/health`. @type {Json | null} */
  health = null;
  /** The `supervisor:ready` line. @type {Json | null} */
  ready = null;
  /** Release of the first instance that was seen: the one whose files this page runs on. @type {string | null} */
  version = null;
  #isNew = true;
  /** Answers of `/supervisor/status` in a row that another state than the events' stood in. */
  #disagreements = 0;

  /** The state, of all sources the one that knows best. */
  get state() {
    return String(this.history.last?.["state"] ?? this.status?.["state"] ?? this.health?.["supervisor"]?.state ?? "unknown");
  }

  get reason() {
    return String((this.history.last ?? this.status ?? this.health?.["supervisor"])?.["reason"] ?? "");
  }

  /** When the next try is due, ms since the epoch; null when none is. @type {number | null} */
  get nextTryAt() {
    const told = this.history.last;
    if (told && typeof told["next_retry_s"] === "number") return Date.parse(told["time"]) + 1000 * told["next_retry_s"];
    return null;
  }

  /** The page runs on files of another release than the supervisor's. */
  get isOutdated() {
    const now = this.status?.["version"];
    return typeof now === "string" && this.version !== null && now !== this.version;
  }

  /**
   * Another instance answers. @param {number} now ms since the epoch
   */
  instance(now) {
    if (!this.#isNew) this.history.replaced(now);
    this.#isNew = false;
    this.startup = new Startup();
    this.sampler.forget();
    this.status = null;
    this.ready = null;
  }

  /**
   * Take one event of the stream; unknown ones and broken ones change nothing.
   * @param {string} channel
   * @param {string} data
   */
  take(channel, data) {
    const line = parse(data);
    if (line === null) return;
    const at = Date.parse(line["time"]);
    if (channel === "startup:stage") this.startup.stage(/** @type {any} */ (line), at);
    else if (channel === "model:download:progress") this.startup.bytes(/** @type {any} */ (line), at);
    else if (channel === "supervisor:ready") this.ready = line;
    else if (channel === "supervisor:state") this.#state(line);
    else if (channel === "startup:error") {
      this.history.failed(line);
      if (!line["retryable"]) this.startup.fail();
    }
  }

  /**
   * @param {Json} status
   * @param {number} now ms since the epoch
   */
  takeStatus(status, now) {
    this.status = status;
    this.statusAt = now;
    this.version ??= String(status["version"]);
    if (status["state"] === "ready" && this.startup.current === -1) this.startup.assumeReady();
    // One answer may be older than the last event. Two in a row mean that events were lost: so many came that the
    // supervisor no longer keeps those that we missed.
    this.#disagreements = status["state"] === this.history.last?.["state"] ? 0 : this.#disagreements + 1;
    if (this.#disagreements >= 2) this.#state({ ...status, time: new Date(now).toISOString() });
  }

  /** @param {Json} line */
  #state(line) {
    this.#disagreements = 0;
    this.history.state(line);
    if (line["state"] === "stopped" || line["state"] === "broken") this.startup.fail();
    else this.startup.hasFailed = false; // it is being tried again
  }
}

/**
 * @param {string} data
 * @returns {Json | null}
 */
function parse(data) {
  try {
    const line = JSON.parse(data);
    return typeof line === "object" && line !== null && !Number.isNaN(Date.parse(line.time)) ? line : null;
  } catch {
    return null;
  }
}
