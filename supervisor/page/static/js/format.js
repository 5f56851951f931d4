// @ts-check
/** Numbers, times and spans of time as people read them; every one with its unit. Pure. */

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const DAY_MS = 86_400_000;

/** What stands where there is no value. */
export const NONE = "–";

/**
 * Three significant digits, and every digit of larger whole numbers: 0.0123, 4.56, 78.9, 1,234.
 * @param {number} value
 */
export function number(value) {
  const digits = Math.abs(value) >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString("en-GB", digits);
}

/**
 * A span of time in the units that fit it: 3.4 ms, 1.25 s, 2 min 5 s, 1 h 6 min, 3 d 4 h.
 * @param {number} seconds
 */
export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 0.9995) return `${number(s * 1000)} ms`;
  if (s < 59.95) return `${number(s)} s`;
  return pair(Math.round(s));
}

/** @param {number} s whole seconds, a minute or more */
function pair(s) {
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/**
 * Bytes in decimal units, as the supervisor's own limits count them: 640 kB, 301 MB, 1.25 GB.
 * @param {number} value
 */
export function bytes(value) {
  for (const [unit, size] of /** @type {const} */ ([["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])) {
    if (value >= size) return `${number(value / size)} ${unit}`;
  }
  return `${number(value)} B`;
}

/**
 * A moment: the time alone when it was within the last day, else with the day.
 * @param {number} ms since the epoch
 * @param {number} [now]
 */
export function moment(ms, now = Date.now()) {
  return Math.abs(now - ms) < DAY_MS ? TIME.format(ms) : DAY.format(ms);
}

/**
 * @param {number} n
 * @param {string} noun
 */
export function count(n, noun) {
  return `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
}
