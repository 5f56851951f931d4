/** Which command starts the supervisor. Pure but for the look it is handed. */

import path from "node:path";
import { SidecarError } from "./errors.js";

/** The executable of the bundle, without `.exe`. */
export const BUNDLE_EXECUTABLE = "embedding-supervisor";

/** The bundle's folder under Electron's `process.resourcesPath`. */
export const BUNDLE_FOLDER = "embedding-sidecar";

/** A command that starts a supervisor; `run` and its options are appended. */
export interface Command {
  readonly kind: "bundle" | "python" | "command";
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string | undefined;
}

/** Where to look; see `HostOptions`. */
export interface Wishes {
  readonly command?: readonly string[] | undefined;
  readonly bundle?: string | undefined;
  readonly python?: string | undefined;
  readonly project?: string | undefined;
}

/** The machine, as far as the search sees it. */
export interface Machine {
  readonly platform: NodeJS.Platform;
  readonly resourcesPath: string | undefined;
  readonly searchPath: string;
  /** What is at this path: nothing, a folder, or a file. */
  readonly look: (file: string) => "nothing" | "folder" | "file";
}

/**
 * Choose the command: an explicit one, an explicit bundle, an explicit Python, the bundle under
 * `resourcesPath`, then a Python of the project or on PATH.
 *
 * Throws `SIDECAR_START_FAILED` when what was named is missing, `PYTHON_NOT_FOUND` when nothing
 * was named and nothing is there; `details.searched` lists the places.
 */
export function locate(wishes: Wishes, machine: Machine): Command {
  if (wishes.project !== undefined && machine.look(wishes.project) !== "folder") {
    throw missing("project", wishes.project, "Pass the folder that holds the supervisor package.");
  }
  const [file, ...args] = wishes.command ?? [];
  if (file !== undefined) return { kind: "command", file, args, cwd: wishes.project };
  if (wishes.bundle !== undefined) return namedBundle(wishes.bundle, machine);
  if (wishes.python !== undefined) return namedPython(wishes.python, wishes, machine);
  const bundles = machine.resourcesPath
    ? [join(machine, machine.resourcesPath, BUNDLE_FOLDER, executable(machine))]
    : [];
  const isFile = (candidate: string) => machine.look(candidate) === "file";
  const bundle = bundles.find(isFile);
  if (bundle !== undefined) return { kind: "bundle", file: bundle, args: [] };
  const pythons = pythonPlaces(wishes.project, machine);
  const python = pythons.find(isFile);
  if (python !== undefined) return pythonCommand(python, wishes, machine);
  throw new SidecarError("PYTHON_NOT_FOUND", "Neither a bundle nor a Python was found.", {
    hint: "Ship the bundle as extraResources, or pass bundle or python.",
    details: { searched: [...bundles, ...pythons] },
  });
}

function namedBundle(bundle: string, machine: Machine): Command {
  const found = machine.look(bundle);
  const file = found === "folder" ? join(machine, bundle, executable(machine)) : bundle;
  if (machine.look(file) === "file") return { kind: "bundle", file, args: [] };
  throw missing("bundle", file, "Copy the whole bundle folder into the app's resources.");
}

function namedPython(python: string, wishes: Wishes, machine: Machine): Command {
  const isName = !/[\\/]/.test(python);
  if (isName || machine.look(python) === "file") return pythonCommand(python, wishes, machine);
  throw missing("python", python, "Pass the path of an interpreter, or leave python out.");
}

function missing(option: string, file: string, hint: string): SidecarError {
  const details = { cause: "missing", path: file, option };
  const wanted = option === "project" ? "a folder" : "an executable";
  const message = `${option}: wanted ${wanted}, found none at ${file}.`;
  return new SidecarError("SIDECAR_START_FAILED", message, { hint, details, retryable: false });
}

function pythonCommand(file: string, { project }: Wishes, { platform }: Machine): Command {
  const isLauncher = platform === "win32" && /(^|[\\/])py(\.exe)?$/i.test(file);
  const launcher = isLauncher ? ["-3"] : [];
  return { kind: "python", file, args: [...launcher, "-m", "supervisor"], cwd: project };
}

function executable({ platform }: Machine): string {
  return platform === "win32" ? `${BUNDLE_EXECUTABLE}.exe` : BUNDLE_EXECUTABLE;
}

/**
 * Where a Python may be, best first.
 *
 * Left out are the stubs: Windows' WindowsApps opens the Store, macOS' /usr/bin/python3 offers to
 * install the developer tools.
 */
function pythonPlaces(project: string | undefined, machine: Machine): string[] {
  const isWindows = machine.platform === "win32";
  const venv = isWindows ? ["Scripts", "python.exe"] : ["bin", "python"];
  const own = project === undefined ? [] : [join(machine, project, ".venv", ...venv)];
  const names = isWindows ? ["python.exe", "py.exe"] : ["python3", "python"];
  const delimiter = isWindows ? ";" : ":";
  const folders = machine.searchPath.split(delimiter).filter((folder) => folder !== "");
  const extra = EXTRA_FOLDERS[machine.platform] ?? [];
  const isStub = STUB_FOLDERS[machine.platform] ?? (() => false);
  const searched = [...new Set([...folders, ...extra])].filter((folder) => !isStub(folder));
  return [
    ...own,
    ...searched.flatMap((folder) => names.map((name) => join(machine, folder, name))),
  ];
}

/** An app that was started from the Finder has a PATH without these. */
const EXTRA_FOLDERS: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ["/opt/homebrew/bin", "/usr/local/bin", "/Library/Developer/CommandLineTools/usr/bin"],
};

const STUB_FOLDERS: Partial<Record<NodeJS.Platform, (folder: string) => boolean>> = {
  darwin: (folder) => /^\/usr\/bin\/*$/.test(folder),
  win32: (folder) => /\\Microsoft\\WindowsApps\\*$/i.test(folder),
};

function join({ platform }: Machine, ...parts: string[]): string {
  return (platform === "win32" ? path.win32 : path.posix).join(...parts);
}
