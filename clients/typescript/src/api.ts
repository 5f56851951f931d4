/** What the server answers with, as far as a client relies on it. More keys may be present. */

/** Answer of `GET /health`, at 200 and at 503 alike. */
export interface Health {
  readonly status: "ok" | "idle" | "starting" | "loading" | "restarting" | "broken" | "draining";
  readonly model: string | null;
  /** Length of a vector. */
  readonly dim: number | null;
  readonly device: string | null;
  readonly model_loaded: boolean;
  readonly model_loading: boolean;
  readonly nonce?: string;
  /** The start-up stage, while not ready. */
  readonly stage?: string;
  /** Added by the supervisor. */
  readonly supervisor?: {
    readonly state: string;
    readonly restarts: number;
    readonly uptime_s: number;
    readonly sidecar_pid: number | null;
  };
}

/** Answer of `GET /info`. */
export interface Info {
  readonly model_id: string;
  readonly dim: number;
  readonly device: string;
  readonly version: string;
  readonly engine: string;
  readonly precision: string;
  /** Longest text in tokens; what is over is cut unless `truncate` is false. */
  readonly max_tokens: number;
  /** Names the vector space: vectors of equal fingerprint may be compared. */
  readonly fingerprint: string;
  readonly parity: {
    readonly reference: "sentence-transformers" | "golden" | "none";
    readonly min_cosine: number | null;
    readonly texts: number;
  };
  readonly limits: Readonly<Record<string, number>>;
  readonly prompts: Readonly<Record<string, string>>;
}

/** Body of `POST /embed`. */
export interface EmbedRequest {
  readonly texts: readonly string[];
  readonly normalize?: boolean;
  readonly truncate?: boolean;
  readonly input_type?: "query" | "document" | null;
  readonly priority?: "auto" | "interactive" | "bulk";
}

/** Answer of `POST /embed` as JSON. */
export interface EmbedResponse {
  readonly vectors: readonly (readonly number[])[];
  readonly model: string;
  readonly dim: number;
  readonly fingerprint: string;
  readonly usage: { readonly tokens: number };
  readonly truncated: readonly number[];
}

/** Body of every error answer. */
export interface ErrorBody {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly hint: string;
    readonly retryable: boolean;
    readonly details: Readonly<Record<string, unknown>>;
  };
}
