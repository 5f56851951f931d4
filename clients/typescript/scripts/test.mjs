// Run the compiled tests: all, or those whose file name contains an argument.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../build/test", import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".test.js"))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
if (files.length === 0) throw new Error(`no test matches ${wanted.join(" ")}`);

const args = [
  "--enable-source-maps",
  "--test",
  "--test-reporter=spec",
  "--test-timeout=200000",
  "--test-concurrency=2",
  ...files.map((name) => `${folder}/${name}`),
];
process.exit(spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1);
