// Search by meaning: notes are embedded once a model, a query each time, and compared.

/** @typedef {{ text: string, score: number }} Hit */

const SHOWN = 5;

export class NoteSearch {
  #notes;
  #client;
  /** @type {Promise<import("embedding-sidecar").Embeddings> | undefined} */
  #index;
  #latest = new AbortController();

  /**
   * @param {readonly string[]} notes
   * @param {() => import("embedding-sidecar").SidecarClient} client Gives the running one.
   */
  constructor(notes, client) {
    this.#notes = notes;
    this.#client = client;
  }

  /** Embed the notes, unless that is done or under way. Rejects with a `SidecarError`. */
  async prepare() {
    this.#index ??= this.#client().embedBatch(this.#notes, {
      inputType: "document",
      priority: "bulk",
    });
    try {
      return await this.#index;
    } catch (error) {
      this.#index = undefined;
      throw error;
    }
  }

  /**
   * Return the notes nearest to `query`, best first. A newer query ends the one before it,
   * which resolves to null. Rejects with a `SidecarError`.
   *
   * @param {string} query
   * @returns {Promise<Hit[] | null>}
   */
  async find(query) {
    this.#latest.abort();
    this.#latest = new AbortController();
    const { signal } = this.#latest;
    try {
      const { vectors } = await this.prepare();
      const options = /** @type {const} */ ({ inputType: "query", priority: "interactive" });
      const wanted = await this.#client().embed(query, { ...options, signal });
      return nearest(this.#notes, vectors, wanted);
    } catch (error) {
      if (signal.aborted) return null;
      throw error;
    }
  }
}

/**
 * @param {readonly string[]} notes
 * @param {readonly Float32Array[]} vectors Of length 1, one a note.
 * @param {Float32Array} wanted Of length 1.
 * @returns {Hit[]}
 */
export function nearest(notes, vectors, wanted) {
  return notes
    .map((text, index) => ({
      text,
      score: dot(/** @type {Float32Array} */ (vectors[index]), wanted),
    }))
    .sort((one, other) => other.score - one.score)
    .slice(0, SHOWN);
}

/**
 * The cosine, for vectors of length 1.
 *
 * @param {Float32Array} a
 * @param {Float32Array} b
 */
function dot(a, b) {
  return a.reduce((sum, value, index) => sum + value * /** @type {number} */ (b[index]), 0);
}
