/** Start, watch and call a local embedding server: `SidecarHost` and `SidecarClient`. */

export type { Embeddings } from "./answers.js";
export {
  type CallOptions,
  type ClientOptions,
  type EmbedOptions,
  SidecarClient,
} from "./client.js";
export { type QuittableApp, stopBeforeQuit } from "./electron.js";
export { type AnyErrorCode, type ErrorData, type ErrorFacts, SidecarError } from "./errors.js";
export type {
  ChannelEvents,
  DownloadEvent,
  LogEvent,
  ReadyEvent,
  StageEvent,
  StartupErrorEvent,
  StateEvent,
  SupervisorEvent,
} from "./events.js";
export type * from "./generated/api.js";
export {
  type Channel,
  type CodeInfo,
  ERROR_CODES,
  type ErrorCode,
  STAGES,
  type Stage,
  type State,
} from "./generated/wire.js";
export {
  type ExitEvent,
  type HostEvents,
  type HostOptions,
  type OutputEvent,
  SidecarHost,
} from "./host.js";
export type { Stream } from "./queue.js";
export type { HostStatus } from "./status.js";
