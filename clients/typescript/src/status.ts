/** What a host knows of its supervisor: events folded into one value. No I/O. */

import type { ErrorData } from "./errors.js";
import type { DownloadEvent, StageEvent, SupervisorEvent } from "./events.js";
import { STAGES, type Stage, type State } from "./generated/wire.js";

/** A value, safe to keep and to send through IPC. Null: not known, or not now. */
export interface HostStatus {
  readonly state: State;
  /** Why the state is what it is. */
  readonly reason: string;
  readonly stage: Stage | null;
  /** Of the last numbered stage, 1 to `stageTotal`: at `error`, of the one that failed. */
  readonly stageIndex: number | null;
  readonly stageTotal: number;
  readonly message: string;
  /** Of the stage, 0 to 100. */
  readonly progress: number | null;
  /** The file that is being downloaded. */
  readonly download: Pick<DownloadEvent, "file" | "progress" | "loaded" | "total"> | null;
  readonly url: string | null;
  readonly port: number | null;
  /** Of the supervisor. */
  readonly pid: number | null;
  readonly sidecarPid: number | null;
  readonly model: string | null;
  readonly dim: number | null;
  readonly fingerprint: string | null;
  /** Number of the sidecar's launch. */
  readonly launch: number;
  readonly restarts: number;
  /** Seconds until the next try, told with the last state. */
  readonly nextRetryS: number | null;
  /** The last start-up error; null again once ready. */
  readonly error: ErrorData | null;
}

/** Before the first start. */
export const INITIAL_STATUS: HostStatus = {
  state: "stopped",
  reason: "",
  stage: null,
  stageIndex: null,
  stageTotal: STAGES.length,
  message: "",
  progress: null,
  download: null,
  url: null,
  port: null,
  pid: null,
  sidecarPid: null,
  model: null,
  dim: null,
  fingerprint: null,
  launch: 0,
  restarts: 0,
  nextRetryS: null,
  error: null,
};

/** Return the status after a supervisor was spawned. */
export function spawned(pid: number | null): HostStatus {
  return { ...INITIAL_STATUS, state: "starting", pid };
}

/** Return the status after the supervisor ended; what it last said of a failure stays. */
export function ended(status: HostStatus, reason: string): HostStatus {
  const { stage, stageIndex, message, error, restarts, launch } = status;
  const kept = { stage, stageIndex, message, error, restarts, launch };
  return { ...INITIAL_STATUS, ...kept, reason };
}

/** Return the status after `event`. */
export function reduce(status: HostStatus, event: SupervisorEvent): HostStatus {
  const next = { ...status, launch: Math.max(status.launch, event.launch) };
  switch (event.channel) {
    case "startup:stage":
      return { ...next, ...stageOf(event, status) };
    case "startup:error": {
      const { code, message, hint, retryable, details } = event;
      const error = { code, message, hint, retryable, details, status: null, retryAfterMs: null };
      return { ...next, stage: "error", message, progress: null, error };
    }
    case "model:download:progress": {
      const { file, progress, loaded, total } = event;
      return { ...next, download: { file, progress, loaded, total } };
    }
    case "supervisor:ready": {
      const { url, port, pid, sidecar_pid: sidecarPid, model, dim, fingerprint } = event;
      const facts = { url, port, pid, sidecarPid, model, dim, fingerprint };
      return { ...next, ...facts, state: "ready", error: null, download: null, nextRetryS: null };
    }
    case "supervisor:state": {
      const { state, reason, restarts, next_retry_s: nextRetryS } = event;
      return { ...next, state, reason, restarts, nextRetryS };
    }
    case "log":
      return status;
  }
}

function stageOf(event: StageEvent, before: HostStatus) {
  const { stage, total: stageTotal, message, progress } = event;
  const stageIndex = event.index ?? before.stageIndex;
  const download = stage === before.stage ? before.download : null;
  return { stage, stageIndex, stageTotal, message, progress, download };
}
