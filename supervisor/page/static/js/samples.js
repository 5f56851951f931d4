// @ts-check
/** Turns answers of `/metrics` into points of the plots. Pure: time is handed in. */

import { quantile } from "./metrics.js";

/** @typedef {import("./metrics.js").Metrics} Metrics */

/**
 * @typedef {object} Point null: not known at that time
 * @property {number | null} texts texts a second
 * @property {number | null} tokens tokens a second
 * @property {number | null} p50 ms
 * @property {number | null} p95 ms
 * @property {number | null} sidecar resident bytes
 * @property {number | null} supervisor resident bytes
 */

/** Calls whose time is shown: those that embed. */
const ROUTES = new Set(["/embed", "/v1/embeddings"]);

/** Latency is taken over this long, so that a few calls a minute still make a line. */
const WINDOW_S = 10;

const LATENCY = "embedding_supervisor_request_seconds_bucket";

/** @typedef {{ t: number, launch: number | null, texts: number | null, tokens: number | null, buckets: Map<number, number> }} Scrape */

/** Remembers the last answers, as far as differences need them. */
export class Sampler {
  /** @type {Scrape[]} */
  #scrapes = [];

  /**
   * @param {Metrics} metrics
   * @param {number} t seconds
   * @returns {Point}
   */
  take(metrics, t) {
    const scrape = read(metrics, t);
    const before = this.#scrapes.at(-1);
    // The oldest of the window stays: the difference to it is the window's own.
    while (this.#scrapes[1] && t - this.#scrapes[1].t >= WINDOW_S) this.#scrapes.shift();
    const oldest = this.#scrapes[0];
    this.#scrapes.push(scrape);
    const calls = oldest && t - oldest.t <= 2 * WINDOW_S ? difference(scrape.buckets, oldest.buckets) : [];
    return {
      texts: rate(scrape, before, "texts"),
      tokens: rate(scrape, before, "tokens"),
      p50: inMs(quantile(calls, 0.5)),
      p95: inMs(quantile(calls, 0.95)),
      sidecar: resident(metrics, "sidecar"),
      supervisor: resident(metrics, "supervisor"),
    };
  }

  /** Another instance answers, and counts from the beginning. */
  forget() {
    this.#scrapes = [];
  }
}

/**
 * @param {Metrics} metrics
 * @param {number} t
 * @returns {Scrape}
 */
function read(metrics, t) {
  /** @type {Map<number, number>} */
  const buckets = new Map();
  for (const { labels, value } of metrics.all(LATENCY)) {
    if (!ROUTES.has(labels["route"] ?? "")) continue;
    const bound = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
    buckets.set(bound, (buckets.get(bound) ?? 0) + value);
  }
  const launch = metrics.one("embedding_supervisor_launch");
  const texts = metrics.one("embedding_sidecar_texts_total");
  const tokens = metrics.one("embedding_sidecar_tokens_total");
  return { t, launch, texts, tokens, buckets };
}

/**
 * @param {Scrape} now
 * @param {Scrape | undefined} before
 * @param {"texts" | "tokens"} name
 */
function rate(now, before, name) {
  const [value, last] = [now[name], before?.[name] ?? null];
  // Each launch of the sidecar counts from zero.
  if (!before || value === null || last === null || before.launch !== now.launch || value < last) return null;
  return now.t > before.t ? (value - last) / (now.t - before.t) : null;
}

/**
 * @param {ReadonlyMap<number, number>} now
 * @param {ReadonlyMap<number, number>} before
 */
function difference(now, before) {
  const bounds = [...now.keys()].sort((a, b) => a - b);
  return bounds.map((bound) => ({ bound, count: (now.get(bound) ?? 0) - (before.get(bound) ?? 0) }));
}

/**
 * @param {Metrics} metrics
 * @param {string} process
 */
function resident(metrics, process) {
  return metrics.all("embedding_supervisor_resident_bytes").find(({ labels }) => labels["process"] === process)?.value ?? null;
}

/** @param {number | null} seconds */
function inMs(seconds) {
  return seconds === null ? null : seconds * 1000;
}

/** Points on a time axis, the oldest dropped beyond a bound. */
export class Series {
  /** Seconds since the epoch. @type {number[]} */
  times = [];
  /** @type {Record<keyof Point, (number | null)[]>} */
  values = { texts: [], tokens: [], p50: [], p95: [], sidecar: [], supervisor: [] };
  #most;

  /** @param {number} most points kept */
  constructor(most) {
    this.#most = most;
  }

  /**
   * @param {number} t
   * @param {Point | null} point null: a gap
   */
  push(t, point) {
    const isFull = this.times.length >= this.#most;
    this.times.push(t);
    if (isFull) this.times.shift();
    for (const [name, column] of Object.entries(this.values)) {
      column.push(point?.[/** @type {keyof Point} */ (name)] ?? null);
      if (isFull) column.shift();
    }
  }

  /**
   * @param {readonly (keyof Point)[]} names
   * @param {number} since seconds
   * @returns {[number[], ...(number | null)[][]]} the times, then a column for each name
   */
  columns(names, since) {
    const first = this.times.findIndex((t) => t >= since);
    const from = first === -1 ? this.times.length : Math.max(0, first - 1); // the line comes in from the left
    return [this.times.slice(from), ...names.map((name) => this.values[name].slice(from))];
  }
}
