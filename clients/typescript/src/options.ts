/** The longest time that `setTimeout` can wait; over it, it fires at once. */
const LONGEST_MS = 2 ** 31 - 1;

/** Return `value`. Throws `RangeError` when it is no number from `least` to `most`. */
export function within(least: number, most: number, name: string, value: number): number {
  if (value >= least && value <= most) return value;
  throw new RangeError(`${name}: wanted a number from ${least} to ${most}, found ${value}`);
}

/** Return `value`, a time in milliseconds. Throws `RangeError`. */
export function milliseconds(name: string, value: number, least = 1): number {
  return within(least, LONGEST_MS, name, value);
}
