/** The lines that a supervisor prints, and how one is read. No I/O. */

import type { AnyErrorCode } from "./errors.js";
import { type Channel, STAGES, STATES, type Stage, type State } from "./generated/wire.js";

interface Line<C extends Channel> {
  readonly channel: C;
  /** RFC 3339, UTC. */
  readonly time: string;
  /** Number of the sidecar's launch; 0 before the first. */
  readonly launch: number;
  /** Older lines of this channel that were dropped because the host did not read. */
  readonly dropped?: number;
}

/** A start-up stage was entered, or moved on. */
export interface StageEvent extends Line<"startup:stage"> {
  readonly stage: Stage;
  /** 1 to `total`; null for `error`. */
  readonly index: number | null;
  readonly total: number;
  readonly message: string;
  /** Of this stage, 0 to 100; null where it is not known. */
  readonly progress: number | null;
}

/** Start-up failed. */
export interface StartupErrorEvent extends Line<"startup:error"> {
  readonly code: AnyErrorCode;
  readonly message: string;
  /** The next step. */
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;
}

/** A file of the model is on its way. */
export interface DownloadEvent extends Line<"model:download:progress"> {
  readonly file: string;
  /** 0 to 100; null where the size is not known. */
  readonly progress: number | null;
  /** Bytes; null before the first are here. */
  readonly loaded: number | null;
  /** Bytes; null where the server does not tell. */
  readonly total: number | null;
}

/** Vectors can be had. */
export interface ReadyEvent extends Line<"supervisor:ready"> {
  readonly url: string;
  readonly port: number;
  /** Of the supervisor. */
  readonly pid: number;
  readonly sidecar_pid: number;
  /** Absent when the host gave it. */
  readonly token?: string;
  readonly model: string;
  /** Length of a vector; null where the engine does not tell. */
  readonly dim: number | null;
  /** Names the vector space; null where the engine does not tell. */
  readonly fingerprint: string | null;
}

/** The supervisor's state changed. */
export interface StateEvent extends Line<"supervisor:state"> {
  readonly state: State;
  readonly reason: string;
  readonly restarts: number;
  /** Seconds until the next try, where one is planned. */
  readonly next_retry_s: number | null;
  /** Of the failure that led here, where one did. */
  readonly code?: AnyErrorCode;
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A line of a log; only when a log level was asked for. */
export interface LogEvent extends Line<"log"> {
  readonly level: string;
  readonly source: "sidecar" | "supervisor";
  readonly line: string;
}

/** Each channel's event. */
export interface ChannelEvents {
  "startup:stage": StageEvent;
  "startup:error": StartupErrorEvent;
  "model:download:progress": DownloadEvent;
  "supervisor:ready": ReadyEvent;
  "supervisor:state": StateEvent;
  log: LogEvent;
}

/** Any event of a supervisor. */
export type SupervisorEvent = ChannelEvents[Channel];

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isNumber: Check = (value) => Number.isFinite(value);
const isNumberOrNull: Check = (value) => value === null || isNumber(value);
const isOneOf =
  (names: readonly string[]): Check =>
  (value) =>
    isText(value) && names.includes(value as string);

/** The keys that a reader relies on. A missing row or key of an event is a compile error. */
type Shape<E> = { readonly [K in RequiredKey<Omit<E, keyof Line<Channel>>>]: Check };

type RequiredKey<E> = { [K in keyof E]-?: undefined extends E[K] ? never : K }[keyof E];

const SHAPES: { readonly [C in Channel]: Shape<ChannelEvents[C]> } = {
  "startup:stage": {
    stage: isOneOf([...STAGES, "error"]),
    index: isNumberOrNull,
    total: isNumber,
    message: isText,
    progress: isNumberOrNull,
  },
  "startup:error": {
    code: isText,
    message: isText,
    hint: isText,
    details: (value) => typeof value === "object" && value !== null,
    retryable: (value) => typeof value === "boolean",
  },
  "model:download:progress": {
    file: isText,
    progress: isNumberOrNull,
    loaded: isNumberOrNull,
    total: isNumberOrNull,
  },
  "supervisor:ready": {
    url: isText,
    port: isNumber,
    pid: isNumber,
    sidecar_pid: isNumber,
    model: isText,
    dim: isNumberOrNull,
    fingerprint: (value) => value === null || isText(value),
  },
  "supervisor:state": {
    state: isOneOf(STATES),
    reason: isText,
    restarts: isNumber,
    next_retry_s: isNumberOrNull,
  },
  log: { level: isText, source: isOneOf(["sidecar", "supervisor"]), line: isText },
};

/** Return the event that `line` holds; undefined for what is none of ours, which is log. */
export function parseEvent(line: string): SupervisorEvent | undefined {
  if (!line.startsWith("{")) return undefined;
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const channel = value["channel"];
  if (typeof channel !== "string" || !Object.hasOwn(SHAPES, channel)) return undefined;
  const checks = Object.entries<Check>(SHAPES[channel as Channel]);
  const isWhole =
    isText(value["time"]) &&
    isNumber(value["launch"]) &&
    checks.every(([key, check]) => check(value[key]));
  return isWhole ? (value as unknown as SupervisorEvent) : undefined;
}
