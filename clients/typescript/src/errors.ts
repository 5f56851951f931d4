import { ERROR_CODES, type ErrorCode } from "./generated/wire.js";

/** A code of this version, or one that a newer server knows. */
export type AnyErrorCode = ErrorCode | (string & {});

/** What an error says beside its code and message. */
export interface ErrorFacts {
  /** The next step for whoever reads it. */
  readonly hint?: string | undefined;
  /** Whether the same call may succeed later. Default: what is known of the code. */
  readonly retryable?: boolean | undefined;
  readonly details?: Readonly<Record<string, unknown>> | undefined;
  /** HTTP status, where an answer carried the error. */
  readonly status?: number | null | undefined;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs?: number | null | undefined;
  readonly cause?: unknown;
}

/** An error as plain data, for what cannot carry classes (Electron's IPC, logs). */
export interface ErrorData {
  readonly code: AnyErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
  readonly status: number | null;
  readonly retryAfterMs: number | null;
}

// An app may load this package as ESM and as CJS: two classes, one brand.
const BRAND = Symbol.for("embedding-sidecar.SidecarError");

/** The one error that host and client raise, but for an `AbortSignal`'s own reason. */
export class SidecarError extends Error implements ErrorData {
  readonly code: AnyErrorCode;
  readonly hint: string;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;
  readonly status: number | null;
  readonly retryAfterMs: number | null;

  constructor(code: AnyErrorCode, message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = "SidecarError";
    this.code = code;
    this.hint = facts.hint ?? "";
    this.retryable = facts.retryable ?? knownRetryable(code);
    this.details = facts.details ?? {};
    this.status = facts.status ?? null;
    this.retryAfterMs = facts.retryAfterMs ?? null;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** Whether `value` is a `SidecarError`, of this copy of the package or another. */
  static is(value: unknown): value is SidecarError {
    return value instanceof Error && BRAND in value;
  }

  /** The error as plain data: what `JSON.stringify` and a structured clone keep. */
  toJSON(): ErrorData {
    const { code, message, hint, retryable, details, status, retryAfterMs } = this;
    return { code, message, hint, retryable, details, status, retryAfterMs };
  }
}

function knownRetryable(code: AnyErrorCode): boolean {
  return Object.hasOwn(ERROR_CODES, code) && ERROR_CODES[code as ErrorCode].retryable;
}
