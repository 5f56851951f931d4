import { type Embeddings, embeddingsOf, errorOf, objectWith } from "./answers.js";
import { batches } from "./batches.js";
import { SidecarError } from "./errors.js";
import type { EmbedRequest, Health, Info } from "./generated/api.js";
import { DEFAULT_HOST, DEFAULT_PORT, MAX_TEXTS, OCTET_STREAM } from "./generated/wire.js";
import { milliseconds, within } from "./options.js";
import { withRetries } from "./retry.js";
import { type Answer, type Call, send } from "./transport.js";

/** How a client calls. */
export interface ClientOptions {
  /** Address of the supervisor or sidecar. Default `http://127.0.0.1:8421`. */
  readonly baseUrl?: string | URL | undefined;
  /** Bearer token, where the server asks for one. */
  readonly token?: string | undefined;
  /** For each try, until its answer is read. Default 30,000. */
  readonly timeoutMs?: number | undefined;
  /** Tries after the first, for network errors, time-outs and 5xx. Default 2. */
  readonly retries?: number | undefined;
  /** Pause between tries; a longer `Retry-After` is honoured up to `timeoutMs`. Default 1,000. */
  readonly retryDelayMs?: number | undefined;
  /** Most texts of one request; a longer list is sent in parts, one after the other. Default 128. */
  readonly batchSize?: number | undefined;
  /** How vectors travel: raw float32, or JSON for a server that has no other. Default `float32`. */
  readonly transport?: "float32" | "json" | undefined;
  /** What makes the calls. Default: the global `fetch`. */
  readonly fetch?: typeof fetch | undefined;
}

/** Per call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Per embedding. */
export interface EmbedOptions extends CallOptions {
  /** What the text is, for models that embed queries and documents differently. */
  readonly inputType?: "query" | "document" | undefined;
  /** `interactive` goes before `bulk`; the server decides by size when left out. */
  readonly priority?: "auto" | "interactive" | "bulk" | undefined;
  /** Scale vectors to length 1. Default true. */
  readonly normalize?: boolean | undefined;
  /** Cut texts that are too long, rather than refuse them. Default true. */
  readonly truncate?: boolean | undefined;
}

const NO_RETRIES = 0;

/**
 * Calls one embedding server.
 *
 * Every method rejects with a `SidecarError`, or with the reason of the signal it was given.
 */
export class SidecarClient {
  readonly baseUrl: URL;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;
  readonly #retries: number;
  readonly #retryDelayMs: number;
  readonly #batchSize: number;
  readonly #accept: string;
  readonly #fetch: typeof fetch;

  /** Throws `TypeError` or `RangeError` for an option that makes no sense. */
  constructor(options: ClientOptions = {}) {
    this.baseUrl = folder(options.baseUrl ?? `http://${DEFAULT_HOST}:${DEFAULT_PORT}`);
    this.#headers = options.token ? { authorization: `Bearer ${options.token}` } : {};
    this.#timeoutMs = milliseconds("timeoutMs", options.timeoutMs ?? 30_000);
    this.#retries = within(0, 100, "retries", options.retries ?? 2);
    this.#retryDelayMs = milliseconds("retryDelayMs", options.retryDelayMs ?? 1_000, 0);
    this.#batchSize = within(1, MAX_TEXTS, "batchSize", options.batchSize ?? 128);
    this.#accept = options.transport === "json" ? "application/json" : OCTET_STREAM;
    this.#fetch = options.fetch ?? globalThis.fetch;
  }

  /** Return the vector of one text. */
  async embed(text: string, options: EmbedOptions = {}): Promise<Float32Array> {
    const { vectors } = await this.embedBatch([text], options);
    return vectors[0] as Float32Array;
  }

  /**
   * Return the vectors of `texts`, in their order, and what is to be known of them.
   *
   * One error of any part rejects the whole. Indices in an error's `details` and in
   * `truncated` count within `texts`.
   */
  async embedBatch(texts: readonly string[], options: EmbedOptions = {}): Promise<Embeddings> {
    const parts: Embeddings[] = [];
    for (const batch of batches(texts, this.#batchSize)) {
      const part = await this.#embedPart(batch.texts, options).catch((error: unknown) => {
        throw shiftIndex(error, batch.start);
      });
      parts.push({ ...part, truncated: part.truncated.map((index) => index + batch.start) });
    }
    return parts.length > 0 ? joined(parts) : this.#embedPart([], options);
  }

  /** Whether the server answers and can embed now, or will when asked (`idle`). One try. */
  async checkHealth(options: CallOptions = {}): Promise<boolean> {
    try {
      const { status } = await this.health(options);
      return status === "ok" || status === "idle";
    } catch (error) {
      if (SidecarError.is(error)) return false;
      throw error;
    }
  }

  /** Return the server's own account of itself, ready or not. One try. */
  async health(options: CallOptions = {}): Promise<Health> {
    const accept = (answer: Answer) => answer.status === 200 || answer.status === 503;
    const answer = await this.#call("GET", "health", options, { accept, retries: NO_RETRIES });
    return objectWith<Health>(answer, "status");
  }

  /** Return which model, engine and limits serve. */
  async info(options: CallOptions = {}): Promise<Info> {
    return objectWith<Info>(await this.#call("GET", "info", options), "model_id");
  }

  /**
   * Give the supervisor an order; it answers before it is carried out. Needs the token. One try.
   * `restart` replaces the sidecar, `retry` tries again now where it gave up for a while.
   */
  async control(order: "restart" | "retry" | "stop", options: CallOptions = {}): Promise<void> {
    const extras = { body: "{}", retries: NO_RETRIES };
    await this.#call("POST", `supervisor/${order}`, options, extras);
  }

  async #embedPart(texts: readonly string[], options: EmbedOptions): Promise<Embeddings> {
    const { inputType, priority, normalize, truncate } = options;
    const fields = { normalize, truncate, input_type: inputType, priority };
    const rest = JSON.stringify(fields satisfies Rest).slice(1);
    const body = `{"texts":[${texts.join(",")}]${rest === "}" ? rest : `,${rest}`}`;
    const answer = await this.#call("POST", "embed", options, { body });
    return embeddingsOf(answer, texts.length);
  }

  /** Call until an answer passes `accept` (2xx when left out). Throws what the last try came to. */
  async #call(
    method: Call["method"],
    path: string,
    options: CallOptions,
    { body, accept = isSuccess, retries = this.#retries }: CallExtras = {},
  ): Promise<Answer> {
    const timeoutMs = milliseconds("timeoutMs", options.timeoutMs ?? this.#timeoutMs);
    const { signal } = options;
    const type = body === undefined ? {} : { "content-type": "application/json" };
    const headers = { ...this.#headers, ...type, accept: body ? this.#accept : "application/json" };
    const once = async () => {
      const url = new URL(path, this.baseUrl);
      const answer = await send(this.#fetch, url, { method, headers, body, timeoutMs, signal });
      if (!accept(answer)) throw errorOf(answer);
      return answer;
    };
    const policy = { retries, retryDelayMs: this.#retryDelayMs, longestPauseMs: timeoutMs };
    return withRetries(once, policy, signal);
  }
}

type Rest = { [K in Exclude<keyof EmbedRequest, "texts">]: EmbedRequest[K] | undefined };

interface CallExtras {
  readonly body?: string;
  readonly accept?: (answer: Answer) => boolean;
  readonly retries?: number;
}

function isSuccess(answer: Answer): boolean {
  return answer.status >= 200 && answer.status < 300;
}

/** The address as a folder, so that `new URL("embed", base)` stays below it. */
function folder(baseUrl: string | URL): URL {
  const url = new URL(baseUrl);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`baseUrl: wanted an http address, found ${url.href}`);
  }
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

/** One answer for parts of one list. Vectors of different spaces are never mixed. */
function joined(parts: readonly Embeddings[]): Embeddings {
  const [first] = parts as [Embeddings];
  const stranger = parts.find((part) => part.fingerprint !== first.fingerprint);
  if (stranger) {
    throw new SidecarError(
      "SIDECAR_NOT_HEALTHY",
      `The model changed between parts: fingerprint ${first.fingerprint}, then ${stranger.fingerprint}.`,
      { hint: "Embed the whole list again.", retryable: true },
    );
  }
  return {
    vectors: parts.flatMap((part) => part.vectors),
    dim: first.dim,
    fingerprint: first.fingerprint,
    tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
    truncated: parts.flatMap((part) => part.truncated),
  };
}

/** An error that names a text by its index in a part, with the index in the whole list. */
function shiftIndex(error: unknown, start: number): unknown {
  if (start === 0 || !SidecarError.is(error)) return error;
  const { index } = error.details;
  if (typeof index !== "number") return error;
  const details = { ...error.details, index: index + start };
  return new SidecarError(error.code, error.message, { ...error.toJSON(), details, cause: error });
}
