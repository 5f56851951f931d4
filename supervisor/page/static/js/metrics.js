// @ts-check
/** Reads the Prometheus text of `/metrics`. Pure. */

/** @typedef {{ readonly labels: Readonly<Record<string, string>>, readonly value: number }} Sample */

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** The samples of one answer. */
export class Metrics {
  /** @type {Map<string, Sample[]>} */
  #families = new Map();

  /** @param {string} text */
  constructor(text) {
    for (const line of text.split("\n")) {
      const [, name, labels, value] = LINE.exec(line) ?? [];
      if (name === undefined) continue;
      const samples = this.#families.get(name) ?? [];
      samples.push({ labels: readLabels(labels ?? ""), value: Number(value === "+Inf" ? Infinity : value) });
      this.#families.set(name, samples);
    }
  }

  /**
   * @param {string} name
   * @returns {readonly Sample[]}
   */
  all(name) {
    return this.#families.get(name) ?? [];
  }

  /**
   * The value of a family that has one sample; null where it is missing.
   * @param {string} name
   */
  one(name) {
    return this.all(name)[0]?.value ?? null;
  }
}

/** @param {string} text */
function readLabels(text) {
  /** @type {Record<string, string>} */
  const labels = {};
  for (const [, name = "", value = ""] of text.matchAll(LABEL)) {
    labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
  }
  return labels;
}

/**
 * A quantile from the buckets of a histogram, linear within a bucket.
 * @param {readonly { readonly bound: number, readonly count: number }[]} buckets cumulative, bounds rising, the last one infinite
 * @param {number} q 0 to 1
 * @returns {number | null} in the bounds' unit; null when nothing was counted. Above the last finite bound: that bound
 */
export function quantile(buckets, q) {
  const total = buckets.at(-1)?.count ?? 0;
  if (total <= 0) return null;
  let [low, below] = [0, 0];
  for (const { bound, count } of buckets) {
    if (count >= q * total && count > below) {
      return bound === Infinity ? low : low + ((bound - low) * (q * total - below)) / (count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}
