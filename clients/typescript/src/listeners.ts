type Listener<T> = (value: T) => void;

/**
 * Listeners by event name.
 *
 * One that throws keeps neither the others nor the caller from going on: its error surfaces as an
 * uncaught exception, as with Node's own emitters.
 */
export class Listeners<Events extends object> {
  readonly #byName = new Map<keyof Events, Listener<never>[]>();

  constructor(private readonly report: (error: unknown) => void = rethrowSoon) {}

  add<K extends keyof Events>(name: K, listener: Listener<Events[K]>): void {
    this.#byName.set(name, [...(this.#byName.get(name) ?? []), listener]);
  }

  remove<K extends keyof Events>(name: K, listener: Listener<Events[K]>): void {
    const kept = (this.#byName.get(name) ?? []).filter((one) => one !== listener);
    this.#byName.set(name, kept);
  }

  emit<K extends keyof Events>(name: K, value: Events[K]): void {
    for (const listener of (this.#byName.get(name) ?? []) as Listener<Events[K]>[]) {
      try {
        listener(value);
      } catch (error) {
        this.report(error);
      }
    }
  }
}

function rethrowSoon(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
