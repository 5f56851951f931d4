/** Values to iterate over once, as they come. */
export interface Stream<T> extends AsyncIterableIterator<T> {
  /** Values that the reader was too slow for. */
  readonly dropped: number;
}

/**
 * Values for one reader, in order, with bounded memory: when `limit` values wait, the oldest goes.
 *
 * Leaving the loop early (`break`, `return()`) releases it: `onClose` is called once.
 */
export class EventQueue<T> implements Stream<T> {
  dropped = 0;
  #values: T[] = [];
  #readers: ((result: IteratorResult<T>) => void)[] = [];
  #isClosed = false;

  constructor(
    private readonly limit: number,
    private readonly onClose: () => void,
  ) {}

  push(value: T): void {
    if (this.#isClosed) return;
    const reader = this.#readers.shift();
    if (reader) {
      reader({ value, done: false });
      return;
    }
    this.#values.push(value);
    if (this.#values.length > this.limit) {
      this.#values.shift();
      this.dropped += 1;
    }
  }

  /** No more values; those that wait can still be read. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true });
    this.onClose();
  }

  next(): Promise<IteratorResult<T>> {
    const [value] = this.#values.splice(0, 1) as [T?];
    if (value !== undefined) return Promise.resolve({ value, done: false });
    if (this.#isClosed) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  return(): Promise<IteratorResult<T>> {
    this.#values = [];
    this.close();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
