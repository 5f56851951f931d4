import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, openSync, readSync } from "node:fs";
import { SidecarError } from "./errors.js";
import { type Executable, HEADER_BYTES, identify, isLoadable } from "./executable.js";
import { type Ending, formatError, spawnError } from "./launch-errors.js";
import { LineSplitter, Tail } from "./lines.js";
import type { Command } from "./locate.js";

/** After the process ended, what a grandchild that holds its output open may still delay us. */
const LAST_OUTPUT_MS = 200;

/** Receives what a child does. */
export interface Watcher {
  onLine(stream: "stdout" | "stderr", line: string): void;
  /** Called once, after the last line. */
  onEnd(ending: Ending): void;
}

/** A running supervisor: its standard input held open, its output read to the end. */
export class Child {
  readonly pid: number;
  readonly tail = new Tail();
  readonly ended: Promise<Ending>;
  readonly #process: ChildProcess;

  private constructor(process: ChildProcess, watcher: Watcher) {
    this.#process = process;
    this.pid = process.pid ?? 0;
    // The other end may go first; its end is what tells us, not this error.
    process.stdin?.on("error", () => {});
    this.#drain("stdout", watcher);
    this.#drain("stderr", watcher);
    this.ended = this.#end(watcher);
  }

  /**
   * Start `command`. Rejects with `SIDECAR_START_FAILED`; `details.cause` is `missing`,
   * `not_executable`, `refused`, `wrong_format` or `spawn_failed`.
   */
  static async spawn(command: Command, env: NodeJS.ProcessEnv, watcher: Watcher): Promise<Child> {
    const { file, args, cwd } = command;
    const found = command.kind === "bundle" ? readExecutable(file) : undefined;
    if (found && !isLoadable(found, process.platform)) {
      throw formatError(file, found, process.platform);
    }
    try {
      const started = spawn(file, args, { cwd, env, stdio: "pipe", windowsHide: true });
      const child = new Child(started, watcher);
      await new Promise((resolve, reject) => started.once("spawn", resolve).once("error", reject));
      return child;
    } catch (cause) {
      throw SidecarError.is(cause) ? cause : spawnError(file, cause);
    }
  }

  /** Write one line of JSON to its standard input. */
  write(value: unknown): void {
    this.#process.stdin?.write(`${JSON.stringify(value)}\n`);
  }

  /** Tell it that the host is gone: it drains and stops. */
  closeInput(): void {
    this.#process.stdin?.end();
  }

  /** End it and, on Windows, its tree; elsewhere its own guard ends what it started. */
  kill(): void {
    const { file, args } = treeKill(this.pid);
    if (process.platform === "win32") execFile(file, args, { windowsHide: true }, () => {});
    else this.#process.kill("SIGKILL");
  }

  #drain(name: "stdout" | "stderr", watcher: Watcher): void {
    const splitter = new LineSplitter();
    const stream = this.#process[name];
    const take = (line: string) => {
      this.tail.push(line);
      watcher.onLine(name, line);
    };
    stream?.on("data", (chunk: Buffer) => splitter.push(chunk).forEach(take));
    stream?.once("close", () => splitter.end().forEach(take));
  }

  async #end(watcher: Watcher): Promise<Ending> {
    const child = this.#process;
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const ending = await new Promise<Ending>((resolve) => {
      child.once("exit", (code, signal) => resolve({ code, signal }));
    });
    const waited = new Promise<void>((resolve) => setTimeout(resolve, LAST_OUTPUT_MS).unref());
    await Promise.race([closed, waited]);
    child.stdout?.destroy();
    child.stderr?.destroy();
    await closed;
    watcher.onEnd(ending);
    return ending;
  }
}

/** The command that ends a process and all below it on Windows. */
export function treeKill(pid: number): { file: string; args: string[] } {
  return { file: "taskkill", args: ["/PID", String(pid), "/T", "/F"] };
}

/** Read what kind of executable `file` is; undefined where it cannot be read. */
export function readExecutable(file: string): Executable | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(file, "r");
    const header = Buffer.alloc(HEADER_BYTES);
    return identify(header.subarray(0, readSync(fd, header, 0, HEADER_BYTES, 0)));
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
