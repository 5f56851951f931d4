import { Child, readExecutable } from "./child.js";
import { SidecarError } from "./errors.js";
import {
  parseEvent,
  type ReadyEvent,
  type StartupErrorEvent,
  type SupervisorEvent,
} from "./events.js";
import { type Ending, earlyEnd } from "./launch-errors.js";
import type { Command } from "./locate.js";

/** What one run of a supervisor needs. */
export interface RunSettings {
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly token: string;
  /** Longest time without an event before the first `supervisor:ready`. */
  readonly silenceTimeoutMs: number;
  /** From the end of its input to the kill. */
  readonly stopTimeoutMs: number;
}

/** Receives what a run does; called in order. */
export interface RunWatcher {
  onSpawn(pid: number): void;
  onEvent(event: SupervisorEvent): void;
  onOutput(stream: "stdout" | "stderr", line: string): void;
  /** `isExpected`: `stop` was called. */
  onEnd(ending: Ending, isExpected: boolean): void;
}

interface Waiter {
  readonly afterLaunch: number;
  resolve(ready: ReadyEvent): void;
  reject(error: SidecarError): void;
}

/** One supervisor process, from its spawn to its end. Made once, stopped once. */
export class Run {
  readonly #settings: RunSettings;
  readonly #watcher: RunWatcher;
  #command: Command | undefined;
  #child: Child | undefined;
  #spawning: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #ready: ReadyEvent | undefined;
  #hasFailed = false;
  #isOver = false;
  #silence: NodeJS.Timeout | undefined;
  #waiters: Waiter[] = [];

  constructor(settings: RunSettings, watcher: RunWatcher) {
    this.#settings = settings;
    this.#watcher = watcher;
  }

  /** Start what `find` names; failures reach those who wait for `ready`. */
  begin(find: () => Command): void {
    this.#spawning = this.#spawn(find).catch((error: unknown) => {
      this.#fail(asSidecarError(error));
      this.#over({ code: null, signal: null });
    });
  }

  /** Resolves at the present `ready` of a launch after `launch`, or the next; rejects when start-up fails. */
  ready(launch: number): Promise<ReadyEvent> {
    const known = this.#ready;
    if (known && known.launch > launch) return Promise.resolve(known);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ afterLaunch: launch, resolve, reject });
    });
  }

  /** End the supervisor: first by the end of its input, then by force. Rejects with `TIMEOUT`. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  get isStopping(): boolean {
    return this.#stopping !== undefined;
  }

  async #spawn(find: () => Command): Promise<void> {
    const command = find();
    this.#command = command;
    const full = { ...command, args: [...command.args, ...this.#settings.args] };
    this.#child = await Child.spawn(full, this.#settings.env, {
      onLine: (stream, line) => this.#line(stream, line),
      onEnd: (ending) => this.#end(ending),
    });
    this.#watcher.onSpawn(this.#child.pid);
    this.#child.write({ token: this.#settings.token });
    this.#restartSilence();
  }

  #line(stream: "stdout" | "stderr", line: string): void {
    const event = stream === "stdout" ? parseEvent(line) : undefined;
    if (event) this.#event(event);
    else this.#watcher.onOutput(stream, line);
  }

  #event(event: SupervisorEvent): void {
    if (event.channel === "supervisor:ready") this.#ready = event;
    else if (this.#ready === undefined) this.#restartSilence();
    this.#watcher.onEvent(event);
    if (event.channel === "supervisor:ready") this.#announce(event);
    if (event.channel === "startup:error") {
      this.#hasFailed = true;
      this.#refuse(errorOf(event));
    }
  }

  #announce(ready: ReadyEvent): void {
    clearTimeout(this.#silence);
    const served = this.#waiters.filter((waiter) => ready.launch > waiter.afterLaunch);
    this.#waiters = this.#waiters.filter((waiter) => !served.includes(waiter));
    for (const waiter of served) waiter.resolve(ready);
  }

  #refuse(error: SidecarError): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  /** Report a failure that the supervisor could not report itself, in its words. */
  #fail(error: SidecarError): void {
    const { code, message, hint, details, retryable } = error;
    const time = new Date().toISOString();
    const facts = { code, message, hint, details, retryable };
    this.#hasFailed = true;
    this.#watcher.onEvent({ channel: "startup:error", time, launch: 0, ...facts });
    this.#refuse(error);
  }

  #end(ending: Ending): void {
    if (!this.#hasFailed && this.#ready === undefined && this.#stopping === undefined) {
      this.#fail(this.#earlyEnd(ending));
    }
    this.#over(ending);
  }

  #over(ending: Ending): void {
    clearTimeout(this.#silence);
    this.#isOver = true;
    this.#watcher.onEnd(ending, this.#stopping !== undefined);
    this.#refuse(new SidecarError("NOT_READY", "The supervisor ended.", { retryable: true }));
  }

  #earlyEnd(ending: Ending): SidecarError {
    const { platform, arch } = process;
    const file = this.#command?.file ?? "";
    const executable = this.#command?.kind === "bundle" ? readExecutable(file) : undefined;
    const lastLines = this.#child?.tail.lines ?? [];
    return earlyEnd(ending, { file, platform, arch, executable, lastLines });
  }

  #restartSilence(): void {
    clearTimeout(this.#silence);
    const { silenceTimeoutMs } = this.#settings;
    this.#silence = setTimeout(() => {
      const message = `The supervisor said nothing for ${silenceTimeoutMs} ms while starting.`;
      const details = { last_lines: this.#child?.tail.lines ?? [] };
      const hint = "Try again; raise silenceTimeoutMs where start-up is known to be slow.";
      this.#fail(new SidecarError("STARTUP_TIMEOUT", message, { hint, details }));
      void this.stop().catch(() => {});
    }, silenceTimeoutMs);
  }

  async #stop(): Promise<void> {
    await this.#spawning;
    const child = this.#child;
    if (child === undefined || this.#isOver) return;
    child.closeInput();
    const { stopTimeoutMs } = this.#settings;
    if (await endsWithin(child, stopTimeoutMs)) return;
    child.kill();
    if (await endsWithin(child, stopTimeoutMs)) return;
    throw new SidecarError(
      "TIMEOUT",
      `Process ${child.pid} outlived its kill by ${stopTimeoutMs} ms.`,
    );
  }
}

async function endsWithin(child: Child, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const isEnded = await Promise.race([child.ended.then(() => true), late]);
  clearTimeout(timer);
  return isEnded;
}

function errorOf({ code, message, hint, details, retryable }: StartupErrorEvent): SidecarError {
  return new SidecarError(code, message, { hint, details, retryable });
}

function asSidecarError(error: unknown): SidecarError {
  if (SidecarError.is(error)) return error;
  return new SidecarError("SIDECAR_START_FAILED", String(error), { cause: error });
}
