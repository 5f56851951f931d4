/** What an HTTP answer means. No I/O. */

import { SidecarError } from "./errors.js";
import type { EmbedResponse, ErrorBody } from "./generated/api.js";
import { MAX_TEXTS, OCTET_STREAM } from "./generated/wire.js";
import type { Answer } from "./transport.js";

/** Vectors of one call, in the order of its texts. */
export interface Embeddings {
  readonly vectors: Float32Array[];
  /** Length of each vector. */
  readonly dim: number;
  /** Names the vector space: only vectors of equal fingerprint may be compared. */
  readonly fingerprint: string;
  /** Tokens read, over all texts. */
  readonly tokens: number;
  /** Indices of the texts that were cut to the model's `max_tokens`. */
  readonly truncated: number[];
}

const SHOWN_CHARACTERS = 200;

/** Return the body, a JSON object that has a text at `key`. Throws `PARSE_ERROR`. */
export function objectWith<T>(answer: Answer, key: keyof T & string): T {
  const body = parsed(answer);
  if (isObject(body) && typeof body[key] === "string") return body as T;
  throw unreadable(answer, `an object with "${key}"`, shown(answer));
}

/** Return the error that an answer outside 2xx stands for: the server's own, or `HTTP_ERROR`. */
export function errorOf(answer: Answer): SidecarError {
  const status = answer.status;
  const retryAfterMs = retryAfter(answer.headers);
  const body = parsed(answer);
  if (isErrorBody(body)) {
    const { code, message, hint, retryable, details } = body.error;
    return new SidecarError(code, message, { hint, retryable, details, status, retryAfterMs });
  }
  return new SidecarError("HTTP_ERROR", `Status ${status} without an error of the sidecar's.`, {
    hint: "Another program may answer on this port.",
    retryable: status >= 500,
    details: { body: shown(answer) },
    status,
    retryAfterMs,
  });
}

/** Return the vectors of a 2xx answer to `count` texts. Throws `PARSE_ERROR`. */
export function embeddingsOf(answer: Answer, count: number): Embeddings {
  const type = answer.headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  return type === OCTET_STREAM ? fromRows(answer, count) : fromJson(answer, count);
}

function fromRows(answer: Answer, count: number): Embeddings {
  const { headers, body } = answer;
  const shape = headers.get("x-embedding-shape") ?? "";
  const [rows, dim] = integers(shape);
  if (rows !== count || !dim || body.byteLength !== rows * dim * 4) {
    const found = `${body.byteLength} bytes declared as "${shape}"`;
    throw unreadable(answer, `float32 rows of ${count} texts`, found);
  }
  const data = littleEndianFloats(body);
  return {
    vectors: Array.from({ length: rows }, (_, row) => data.subarray(row * dim, (row + 1) * dim)),
    dim,
    fingerprint: headers.get("x-embedding-fingerprint") ?? "",
    tokens: integers(headers.get("x-embedding-tokens"))[0] ?? 0,
    truncated: indices(headers.get("x-embedding-truncated")),
  };
}

function fromJson(answer: Answer, count: number): Embeddings {
  const body = parsed(answer);
  const { vectors, truncated, usage, fingerprint }: Partial<EmbedResponse> = isObject(body)
    ? body
    : {};
  const dim = Array.isArray(vectors?.[0]) ? vectors[0].length : 0;
  const isMatrix =
    Array.isArray(vectors) &&
    vectors.length === count &&
    vectors.every((row) => Array.isArray(row) && row.length === dim && row.every(Number.isFinite));
  if (!isMatrix || dim === 0) throw unreadable(answer, `${count} vectors`, shown(answer));
  return {
    vectors: vectors.map((row) => Float32Array.from(row)),
    dim,
    fingerprint: fingerprint ?? "",
    tokens: usage?.tokens ?? 0,
    truncated: [...(truncated ?? [])],
  };
}

/** View the bytes as floats; copied only where the processor is big-endian. */
function littleEndianFloats(bytes: ArrayBuffer): Float32Array {
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] === 1) return new Float32Array(bytes);
  const view = new DataView(bytes);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) =>
    view.getFloat32(i * 4, true),
  );
}

/** "3,384" -> [3, 384]; what is no whole number is left out. */
function integers(list: string | null): number[] {
  return (list ?? "")
    .split(",")
    .flatMap((part) => (/^\s*\d+\s*$/.test(part) ? [Number(part)] : []));
}

/** "0,2,5-7" -> [0, 2, 5, 6, 7]: long lists travel as their runs. */
function indices(list: string | null): number[] {
  return (list ?? "").split(",").flatMap((part) => {
    const [, first, last = first] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    if (first === undefined) return [];
    const count = Number(last) - Number(first) + 1;
    return Array.from({ length: Math.min(count, MAX_TEXTS) }, (_, i) => Number(first) + i);
  });
}

/** Milliseconds of a `Retry-After` in seconds; its date form is not used on this port. */
function retryAfter(headers: Headers): number | undefined {
  const seconds = Number.parseFloat(headers.get("retry-after") ?? "");
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

function parsed(answer: Answer): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(answer.body));
  } catch {
    return undefined;
  }
}

function shown(answer: Answer): string {
  return new TextDecoder().decode(answer.body.slice(0, SHOWN_CHARACTERS));
}

function unreadable(answer: Answer, wanted: string, found: string): SidecarError {
  return new SidecarError("PARSE_ERROR", `Wanted ${wanted}, found ${found || "an empty body"}.`, {
    hint: "Another program may answer on this port, or a server of another version.",
    retryable: false,
    details: { status: answer.status },
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isErrorBody(value: unknown): value is ErrorBody {
  if (!isObject(value) || !isObject(value["error"])) return false;
  const { code, message } = value["error"];
  return typeof code === "string" && typeof message === "string";
}
