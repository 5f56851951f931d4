/** Why a supervisor did not come up, as a typed error with the next step. No I/O. */

import { SidecarError } from "./errors.js";
import type { Executable } from "./executable.js";

/** How a process ended. */
export interface Ending {
  /** Exit status; null when a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
}

/** What is known when a supervisor ended before it was ready. */
export interface Attempt {
  readonly file: string;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  readonly executable: Executable | undefined;
  readonly lastLines: readonly string[];
}

const SPAWN_CAUSES: Readonly<Record<string, readonly [cause: string, hint: string]>> = {
  ENOENT: ["missing", "Check that the bundle was copied whole."],
  ENOTDIR: ["missing", "Check that the bundle was copied whole."],
  EACCES: ["not_executable", "Give the file its execute permission back; some archives drop it."],
  EPERM: ["refused", "The system refused it: look for quarantine or a security product's log."],
  ENOEXEC: ["wrong_format", "Ship the bundle that was built for this platform and processor."],
  EBADARCH: ["wrong_format", "Ship the bundle that was built for this platform and processor."],
  EFTYPE: ["wrong_format", "Ship the bundle that was built for this platform and processor."],
};

/** The error of a spawn that failed. */
export function spawnError(file: string, cause: unknown): SidecarError {
  const code = (cause as { code?: unknown } | undefined)?.code;
  const known = typeof code === "string" ? SPAWN_CAUSES[code] : undefined;
  const [kind, hint] = known ?? ["spawn_failed", "See the cause, and try again."];
  const message = `${file} could not be started: ${cause instanceof Error ? cause.message : cause}.`;
  const details = { cause: kind, path: file, system_code: code ?? null };
  const retryable = known === undefined;
  return new SidecarError("SIDECAR_START_FAILED", message, { hint, details, retryable, cause });
}

/** The error of a file that this system cannot load. */
export function formatError(file: string, found: Executable, platform: string): SidecarError {
  return new SidecarError(
    "SIDECAR_START_FAILED",
    `${file}: wanted an executable for ${platform}, found ${describe(found)}.`,
    {
      hint: "Ship the bundle that was built for this platform and processor.",
      details: { cause: "wrong_format", path: file, format: found.format, arch: found.arch },
      retryable: false,
    },
  );
}

/** The error of a supervisor that ended before it was ready and gave no reason itself. */
export function earlyEnd(ending: Ending, attempt: Attempt): SidecarError {
  const [cause, hint] = causeOf(ending, attempt);
  const how = ending.signal ? `by signal ${ending.signal}` : `with status ${ending.code}`;
  return new SidecarError(
    "SIDECAR_START_FAILED",
    `${attempt.file} ended ${how} before it was ready.`,
    {
      hint,
      details: {
        cause,
        path: attempt.file,
        exit_code: ending.code,
        signal: ending.signal,
        last_lines: attempt.lastLines,
      },
    },
  );
}

function causeOf({ signal }: Ending, attempt: Attempt): [cause: string, hint: string] {
  const { executable, arch, platform, lastLines } = attempt;
  if (lastLines.some((line) => /No module named '?supervisor\b/.test(line))) {
    return ["not_installed", "Pass the folder that holds the supervisor package as project."];
  }
  if (executable && isForeign(executable, arch, platform)) {
    return ["wrong_architecture", `Wanted ${arch}, found ${describe(executable)}.`];
  }
  if (platform === "darwin" && signal === "SIGKILL" && lastLines.length === 0) {
    return [
      "refused",
      "macOS ends what is quarantined or not signed; sign and notarise the bundle.",
    ];
  }
  return ["ended_early", "The last lines of its output are in details.last_lines."];
}

/** Apple silicon and Windows on ARM run x64 as well. */
function isForeign(found: Executable, arch: string, platform: NodeJS.Platform): boolean {
  const emulates = arch === "arm64" && (platform === "darwin" || platform === "win32");
  const runs = emulates ? [arch, "x64"] : [arch];
  return found.arch.length > 0 && !found.arch.some((one) => runs.includes(one));
}

function describe({ format, arch }: Executable): string {
  if (format === "unknown") return "no executable";
  return arch.length > 0 ? `${format} for ${arch.join(" and ")}` : format;
}
