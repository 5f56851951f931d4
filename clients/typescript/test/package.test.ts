import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import * as esm from "embedding-sidecar";

const require = createRequire(import.meta.url);
const cjs = require("embedding-sidecar") as typeof esm;
const manifest = require("embedding-sidecar/package.json");

test("import and require give the same names", () => {
  assert.deepEqual(Object.keys(cjs).sort(), Object.keys(esm).sort());
  assert.ok(Object.keys(esm).includes("SidecarHost"));
});

test("an error of the one copy is known to the other", () => {
  const error = new cjs.SidecarError("TIMEOUT", "late");
  assert.ok(esm.SidecarError.is(error));
  assert.ok(!(error instanceof esm.SidecarError), "two copies: that is why is() exists");
});

test("nothing is needed at run time, and Node 18 is enough", () => {
  assert.equal(manifest.dependencies, undefined);
  assert.equal(manifest.engines.node, ">=18");
});

test("the lock names no place to download from", () => {
  const lock = readFileSync(new URL("../../package-lock.json", import.meta.url), "utf8");
  assert.ok(!lock.includes('"resolved"'));
});

test("importing starts nothing and keeps nothing alive", () => {
  const script =
    'import("embedding-sidecar").then(m => { new m.SidecarHost(); new m.SidecarClient(); })';
  const cwd = new URL("../..", import.meta.url);
  assert.equal(execFileSync(process.execPath, ["-e", script], { cwd, timeout: 10_000 }).length, 0);
});
