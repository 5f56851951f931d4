import { randomBytes } from "node:crypto";
import { statSync } from "node:fs";
import path from "node:path";
import { type ClientOptions, SidecarClient } from "./client.js";
import { SidecarError } from "./errors.js";
import type { ChannelEvents, ReadyEvent, SupervisorEvent } from "./events.js";
import type { Ending } from "./launch-errors.js";
import { Listeners } from "./listeners.js";
import { locate, type Machine } from "./locate.js";
import { milliseconds, within } from "./options.js";
import { EventQueue, type Stream } from "./queue.js";
import { Run, type RunSettings } from "./run.js";
import { ended, type HostStatus, INITIAL_STATUS, reduce, spawned } from "./status.js";

/** How a host starts its supervisor. Everything may be left out. */
export interface HostOptions {
  /** Folder of the bundle, or its executable. Default: `embedding-sidecar` under Electron's resources. */
  readonly bundle?: string | undefined;
  /** An interpreter to run `-m supervisor` with, instead of a bundle. */
  readonly python?: string | undefined;
  /** Folder that holds the supervisor package, where it is not installed; becomes its working folder. */
  readonly project?: string | undefined;
  /** An exact command instead of all these; `run` and its options are appended. */
  readonly command?: readonly [file: string, ...args: string[]] | undefined;
  /** A model's name or folder, or `embedded`. Default: the supervisor's own. */
  readonly model?: string | undefined;
  /** 0 takes any free port, so that two apps never meet. Default 0. */
  readonly port?: number | undefined;
  /** One folder an app: two supervisors cannot share it. Default: the user's, for all apps. */
  readonly stateDir?: string | undefined;
  /** `debug`, `info`, `warning` or `error`: asks for `log` events. */
  readonly logLevel?: string | undefined;
  /** More options of `supervisor run`. */
  readonly args?: readonly string[] | undefined;
  /** Added to the environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Bearer token of the control calls. Default: a new random one for each start. */
  readonly token?: string | undefined;
  /** Start-up fails with `STARTUP_TIMEOUT` after this long without an event. Default 300,000. */
  readonly silenceTimeoutMs?: number | undefined;
  /** From the end of its input to its kill. Default 5,000; it needs up to 2,000 to drain. */
  readonly stopTimeoutMs?: number | undefined;
  /** For `host.client`. */
  readonly client?: Omit<ClientOptions, "baseUrl" | "token"> | undefined;
}

/** The supervisor ended. */
export interface ExitEvent extends Ending {
  /** Whether `stop` was called. */
  readonly expected: boolean;
}

/** A line that was no event: a warning of an interpreter, a traceback. */
export interface OutputEvent {
  readonly stream: "stdout" | "stderr";
  readonly line: string;
}

/** Events by name: the supervisor's channels, and the host's own. */
export interface HostEvents extends ChannelEvents {
  /** Any event of the supervisor. */
  event: SupervisorEvent;
  /** After any change, with the new status. */
  status: HostStatus;
  exit: ExitEvent;
  output: OutputEvent;
}

/** It travels in an HTTP header. */
const TOKEN = /^[\x21-\x7e]{1,512}$/;

/** Events that wait for a slow reader of `events()`. */
const QUEUED_EVENTS = 1024;

/**
 * Starts, watches and stops one supervisor.
 *
 * The supervisor ends with this process, whatever way it goes: its standard input is held open
 * from here, and the system closes it.
 */
export class SidecarHost {
  readonly #options: HostOptions;
  readonly #listeners = new Listeners<HostEvents>();
  readonly #queues = new Set<EventQueue<SupervisorEvent>>();
  #status = INITIAL_STATUS;
  #run: Run | undefined;
  #token = "";
  #client: SidecarClient | undefined;

  /** Throws `RangeError` for an option that makes no sense. Starts nothing. */
  constructor(options: HostOptions = {}) {
    within(0, 65_535, "port", options.port ?? 0);
    milliseconds("silenceTimeoutMs", options.silenceTimeoutMs ?? 1);
    milliseconds("stopTimeoutMs", options.stopTimeoutMs ?? 1);
    if (options.token !== undefined && !TOKEN.test(options.token)) {
      throw new RangeError("token: wanted 1 to 512 visible ASCII characters, found something else");
    }
    this.#options = options;
  }

  /**
   * Start the supervisor, or join the one that runs; resolves when vectors can be had.
   *
   * Rejects with the code of the `startup:error`, which listeners get as well; or, after
   * `signal` was aborted, with its reason, and stops the supervisor.
   */
  async start({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<ReadyEvent> {
    signal?.throwIfAborted();
    if (this.#run?.isStopping) await this.#run.stop();
    this.#run ??= this.#begin();
    const run = this.#run;
    const ready = run.ready(-1);
    if (signal === undefined) return ready;
    const onAbort = () => void run.stop().catch(() => {});
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await ready;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Stop the supervisor and all below it; resolves when it ended. Rejects with `TIMEOUT`. */
  async stop(): Promise<void> {
    await this.#run?.stop();
  }

  /**
   * Replace the sidecar under the running supervisor; address and token stay, and calls wait.
   * Starts the supervisor when none runs. Resolves when the new sidecar is ready.
   */
  async restart(): Promise<ReadyEvent> {
    const run = this.#run;
    const { url, launch } = this.#status;
    if (run === undefined || url === null) return this.start();
    const ready = run.ready(launch);
    ready.catch(() => {});
    await this.client.control("restart");
    return ready;
  }

  /** Whether a supervisor was started and has not ended. */
  get isRunning(): boolean {
    return this.#run !== undefined;
  }

  /** What is known now: a value, safe to keep and to send through IPC. */
  status(): HostStatus {
    return this.#status;
  }

  /** Calls the running supervisor. Throws `NOT_READY` before it was ready and after it ended. */
  get client(): SidecarClient {
    if (this.#client !== undefined) return this.#client;
    throw new SidecarError("NOT_READY", "No supervisor is ready.", {
      hint: "Await start() first.",
    });
  }

  on<K extends keyof HostEvents>(name: K, listener: (event: HostEvents[K]) => void): this {
    this.#listeners.add(name, listener);
    return this;
  }

  off<K extends keyof HostEvents>(name: K, listener: (event: HostEvents[K]) => void): this {
    this.#listeners.remove(name, listener);
    return this;
  }

  /**
   * Iterate over the supervisor's events from now on, until it ends. Call it before `start` to
   * miss none. A reader that is 1,024 events behind loses the oldest; `dropped` counts them.
   */
  events(): Stream<SupervisorEvent> {
    const queue: EventQueue<SupervisorEvent> = new EventQueue(QUEUED_EVENTS, () => {
      this.#queues.delete(queue);
    });
    this.#queues.add(queue);
    return queue;
  }

  #begin(): Run {
    this.#token = this.#options.token ?? randomBytes(32).toString("base64url");
    const run = new Run(this.#settings(), {
      onSpawn: (pid) => this.#update(spawned(pid)),
      onEvent: (event) => this.#take(event),
      onOutput: (stream, line) => this.#listeners.emit("output", { stream, line }),
      onEnd: (ending, expected) => this.#end(ending, expected),
    });
    this.#update(spawned(null));
    run.begin(() => locate(this.#options, thisMachine()));
    return run;
  }

  #settings(): RunSettings {
    const { env, silenceTimeoutMs = 300_000, stopTimeoutMs = 5_000 } = this.#options;
    return {
      args: runArguments(this.#options, process.pid),
      env: { ...process.env, ...env },
      token: this.#token,
      silenceTimeoutMs,
      stopTimeoutMs,
    };
  }

  #take(event: SupervisorEvent): void {
    if (event.channel === "supervisor:ready") this.#connect(event);
    this.#update(reduce(this.#status, event));
    for (const queue of this.#queues) queue.push(event);
    this.#listeners.emit("event", event);
    this.#listeners.emit(event.channel, event as never);
  }

  #connect({ url, token = this.#token }: ReadyEvent): void {
    if (this.#client?.baseUrl.origin === new URL(url).origin) return;
    this.#client = new SidecarClient({ ...this.#options.client, baseUrl: url, token });
  }

  #end(ending: Ending, expected: boolean): void {
    this.#run = undefined;
    this.#client = undefined;
    const reason = expected ? "stopped by the host" : "the supervisor ended";
    this.#update(ended(this.#status, reason));
    for (const queue of [...this.#queues]) queue.close();
    this.#listeners.emit("exit", { ...ending, expected });
  }

  #update(status: HostStatus): void {
    this.#status = status;
    this.#listeners.emit("status", status);
  }
}

/** The arguments of `supervisor run`. The token is not among them: others can read a command line. */
export function runArguments(options: HostOptions, hostPid: number): string[] {
  const { model, port = 0, stateDir, logLevel, args = [] } = options;
  const optional: [string, string | undefined][] = [
    ["--model", model],
    ["--state-dir", stateDir === undefined ? undefined : path.resolve(stateDir)],
    ["--log-level", logLevel],
  ];
  return [
    ...["run", "--events", "jsonl", "--port", String(port), "--host-pid", String(hostPid)],
    ...optional.flatMap(([name, value]) => (value === undefined ? [] : [name, value])),
    ...args,
  ];
}

function thisMachine(): Machine {
  const { platform, env } = process;
  return {
    platform,
    resourcesPath: (process as { resourcesPath?: string }).resourcesPath,
    searchPath: env["PATH"] ?? env["Path"] ?? "",
    look,
  };
}

function look(file: string): "nothing" | "folder" | "file" {
  try {
    return statSync(file).isDirectory() ? "folder" : "file";
  } catch {
    return "nothing";
  }
}
