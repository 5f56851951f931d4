import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PROJECT, PYTHON, scratch, skip } from "./fixtures/real.js";

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));

test("the quick start runs as written", { skip }, async () => {
  const readme = readFileSync(path.join(PACKAGE, "README.md"), "utf8");
  const code = /```js\n(.*?)```/s.exec(readme)?.[1] ?? "";
  assert.ok(code.split("\n").filter(Boolean).length <= 10);
  const file = scratch("app/quick start.mjs");
  mkdirSync(scratch("app/node_modules"), { recursive: true });
  symlinkSync(PACKAGE, scratch("app/node_modules/embedding-sidecar"), "junction");
  writeFileSync(file, code);
  const home = scratch("home");
  const env = {
    ...process.env,
    PATH: [path.dirname(PYTHON ?? ""), process.env["PATH"]].join(path.delimiter),
    XDG_STATE_HOME: home,
    SIDECAR_STATE_DIR: home,
  };
  const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: PROJECT, env });
  const lines = stdout.trim().split("\n");
  assert.deepEqual([lines[0], lines.at(-2)], ["supervisor_start", "ready"]);
  assert.match(lines.at(-1) ?? "", /^cosine 0\.[3-9]\d$/);
});
