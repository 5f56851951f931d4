// @ts-check
/** Calls to the supervisor that served this page, and the token that some of them need. */

const TIMEOUT_MS = 8_000;

/** Why a call gave no result. `status` is 0 when nobody answered. */
export class CallError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {string} [hint]
   */
  constructor(status, code, message, hint = "") {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }

  /** The call needs a token, or another one. */
  get needsToken() {
    return this.status === 401;
  }
}

/**
 * @typedef {object} Options
 * @property {string} [method]
 * @property {unknown} [body] sent as JSON
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 * @property {number | null} [timeoutMs] null: no limit
 * @property {readonly number[]} [accept] error statuses whose body is an answer all the same
 */

/** The token lives here and nowhere else: not in storage, not in the address, not in the document. */
export class Api {
  /** @type {string | null} */
  #token = null;

  get hasToken() {
    return this.#token !== null;
  }

  /** @param {string | null} token */
  useToken(token) {
    this.#token = token;
  }

  /**
   * @param {string} path
   * @param {Options} [options]
   * @returns {Promise<any>} the JSON of the answer
   * @throws {CallError}
   */
  async json(path, options = {}) {
    const response = await this.open(path, options);
    return response.json().catch((error) => {
      throw asCallError(error);
    });
  }

  /**
   * @param {string} path
   * @param {Options} [options]
   * @returns {Promise<string>}
   * @throws {CallError}
   */
  async text(path, options = {}) {
    const response = await this.open(path, options);
    return response.text().catch((error) => {
      throw asCallError(error);
    });
  }

  /**
   * @param {string} path
   * @param {Options} [options]
   * @returns {Promise<Response>} an answer without an error; its body may still break
   * @throws {CallError}
   */
  async open(path, { method = "GET", body, headers = {}, signal, timeoutMs = TIMEOUT_MS, accept = [] } = {}) {
    const signals = [signal, timeoutMs === null ? undefined : AbortSignal.timeout(timeoutMs)];
    const all = { ...headers };
    if (this.#token !== null) all["Authorization"] = `Bearer ${this.#token}`;
    if (body !== undefined) all["Content-Type"] = "application/json";
    /** @type {RequestInit} */
    const init = { method, headers: all, cache: "no-store", signal: AbortSignal.any(signals.filter((s) => s !== undefined)) };
    if (body !== undefined) init.body = JSON.stringify(body);
    const response = await fetch(path, init).catch((error) => {
      throw asCallError(error);
    });
    if (!response.ok && !accept.includes(response.status)) throw await refusal(response);
    return response;
  }
}

/**
 * @param {unknown} error of fetch or of a body
 * @returns {CallError}
 */
export function asCallError(error) {
  if (error instanceof CallError) return error;
  const name = error instanceof Error ? error.name : "";
  if (name === "TimeoutError") return new CallError(0, "TIMEOUT", "No answer in time.");
  if (name === "AbortError") return new CallError(0, "CANCELLED", "Cancelled.");
  if (name === "SyntaxError") return new CallError(0, "PARSE_ERROR", "The answer is not JSON.");
  return new CallError(0, "NETWORK_ERROR", "The supervisor does not answer.");
}

/**
 * @param {Response} response
 * @returns {Promise<CallError>}
 */
async function refusal(response) {
  const body = await response.json().catch(() => null);
  const { code = "HTTP_ERROR", message = `The answer is HTTP ${response.status}.`, hint = "" } = body?.error ?? {};
  return new CallError(response.status, String(code), String(message), String(hint));
}
