import assert from "node:assert/strict";
import { test } from "node:test";
import type { SidecarError } from "../src/errors.js";
import { type Command, locate, type Machine, type Wishes } from "../src/locate.js";

/** A machine with these files; a path that ends in a separator is a folder. */
function machine(paths: readonly string[], rest: Partial<Machine> = {}): Machine {
  const look: Machine["look"] = (file) => {
    if (paths.includes(file)) return "file";
    return paths.includes(`${file}/`) ? "folder" : "nothing";
  };
  return {
    platform: "linux",
    resourcesPath: undefined,
    searchPath: "/usr/bin:/bin",
    look,
    ...rest,
  };
}

const BUNDLED = "/app/resources/embedding-sidecar/embedding-supervisor";

const FOUND: Record<string, readonly [Wishes, Machine, Partial<Command>]> = {
  "an exact command is taken as it is": [
    { command: ["/x", "a"], bundle: "/b" },
    machine([]),
    { kind: "command", file: "/x", args: ["a"] },
  ],
  "the bundle under the app's resources comes before a Python": [
    {},
    machine([BUNDLED, "/usr/bin/python3"], { resourcesPath: "/app/resources" }),
    { kind: "bundle", file: BUNDLED, args: [] },
  ],
  "a named Python comes before that bundle": [
    { python: "/opt/py" },
    machine([BUNDLED, "/opt/py"], { resourcesPath: "/app/resources" }),
    { kind: "python", file: "/opt/py", args: ["-m", "supervisor"] },
  ],
  "a bundle named by its folder": [
    { bundle: "/b" },
    machine(["/b/", "/b/embedding-supervisor"]),
    { kind: "bundle", file: "/b/embedding-supervisor" },
  ],
  "a bundle named by its executable": [
    { bundle: "/b/embedding-supervisor" },
    machine(["/b/embedding-supervisor"]),
    { kind: "bundle", file: "/b/embedding-supervisor" },
  ],
  "Electron in development has resources without a bundle": [
    {},
    machine(["/bin/python3"], { resourcesPath: "/electron/resources" }),
    { kind: "python", file: "/bin/python3" },
  ],
  "the project's own environment comes first": [
    { project: "/p" },
    machine(["/p/", "/p/.venv/bin/python", "/usr/bin/python3"]),
    { kind: "python", file: "/p/.venv/bin/python", cwd: "/p" },
  ],
  "a Python by name is left to the system": [
    { python: "python3.12" },
    machine([]),
    { file: "python3.12", args: ["-m", "supervisor"] },
  ],
  "on Windows: an .exe, not the Store's stub": [
    {},
    machine(["C:\\s\\Microsoft\\WindowsApps\\python.exe", "C:\\py\\python.exe"], {
      platform: "win32",
      searchPath: "C:\\s\\Microsoft\\WindowsApps;C:\\py",
    }),
    { file: "C:\\py\\python.exe" },
  ],
  "on Windows: the launcher is told the major version": [
    {},
    machine(["C:\\Windows\\py.exe"], { platform: "win32", searchPath: "C:\\Windows" }),
    { file: "C:\\Windows\\py.exe", args: ["-3", "-m", "supervisor"] },
  ],
  "on macOS: Homebrew's, not the stub in /usr/bin": [
    {},
    machine(["/usr/bin/python3", "/opt/homebrew/bin/python3"], { platform: "darwin" }),
    { file: "/opt/homebrew/bin/python3" },
  ],
};

for (const [name, [wishes, seen, wanted]] of Object.entries(FOUND)) {
  test(name, () => {
    const found = locate(wishes, seen);
    assert.deepEqual({ ...found, ...wanted }, found);
  });
}

const REFUSED: Record<string, readonly [Wishes, string, string]> = {
  "a bundle that is not there": [{ bundle: "/b" }, "SIDECAR_START_FAILED", "bundle"],
  "a bundle folder without its executable": [
    { bundle: "/empty" },
    "SIDECAR_START_FAILED",
    "bundle",
  ],
  "a Python that is not there": [{ python: "/b/python" }, "SIDECAR_START_FAILED", "python"],
  "a project that is not there": [{ project: "/p" }, "SIDECAR_START_FAILED", "project"],
};

for (const [name, [wishes, code, option]] of Object.entries(REFUSED)) {
  test(`${name} is ${code}`, () => {
    assert.throws(
      () => locate(wishes, machine(["/empty/"])),
      (error: SidecarError) => {
        assert.deepEqual([error.code, error.details["option"]], [code, option]);
        assert.deepEqual([error.details["cause"], error.retryable], ["missing", false]);
        assert.match(error.message, /wanted .* found none at \//);
        return error.hint !== "";
      },
    );
  });
}

test("with nothing named and nothing there, every place is listed", () => {
  assert.throws(
    () => locate({}, machine([], { resourcesPath: "/app/resources" })),
    (error: SidecarError) => {
      assert.equal(error.code, "PYTHON_NOT_FOUND");
      const searched = error.details["searched"] as string[];
      assert.equal(searched[0], BUNDLED);
      assert.ok(searched.includes("/bin/python3"));
      return true;
    },
  );
});
