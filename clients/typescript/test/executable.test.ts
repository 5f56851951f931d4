import assert from "node:assert/strict";
import { test } from "node:test";
import { readExecutable } from "../src/child.js";
import { identify, isLoadable } from "../src/executable.js";

function header(length: number, parts: Record<number, readonly number[]>): Buffer {
  const buffer = Buffer.alloc(length);
  for (const [at, bytes] of Object.entries(parts)) Buffer.from(bytes).copy(buffer, Number(at));
  return buffer;
}

const CASES: Record<string, readonly [Buffer, string, readonly string[]]> = {
  "ELF for x64": [header(64, { 0: [0x7f, 0x45, 0x4c, 0x46, 2, 1], 18: [62, 0] }), "elf", ["x64"]],
  "ELF for arm64": [
    header(64, { 0: [0x7f, 0x45, 0x4c, 0x46, 2, 1], 18: [183, 0] }),
    "elf",
    ["arm64"],
  ],
  "ELF, big-endian": [
    header(64, { 0: [0x7f, 0x45, 0x4c, 0x46, 2, 2], 18: [0, 22] }),
    "elf",
    ["s390x"],
  ],
  "ELF, unknown machine": [
    header(64, { 0: [0x7f, 0x45, 0x4c, 0x46, 2, 1], 18: [9, 9] }),
    "elf",
    [],
  ],
  "Mach-O for arm64": [
    header(64, { 0: [0xcf, 0xfa, 0xed, 0xfe, 12, 0, 0, 1] }),
    "mach-o",
    ["arm64"],
  ],
  "Mach-O, universal": [
    header(64, { 0: [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 2], 8: [1, 0, 0, 7], 28: [1, 0, 0, 12] }),
    "mach-o",
    ["x64", "arm64"],
  ],
  "a Java class": [header(64, { 0: [0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 61] }), "unknown", []],
  "PE for x64": [
    header(256, { 0: [0x4d, 0x5a], 60: [128, 0, 0, 0], 128: [0x50, 0x45, 0, 0, 0x64, 0x86] }),
    "pe",
    ["x64"],
  ],
  "PE, cut off": [header(64, { 0: [0x4d, 0x5a], 60: [255, 255, 255, 255] }), "pe", []],
  "a script": [Buffer.from("#!/bin/sh\n"), "script", []],
  "a page": [Buffer.from("<!doctype html>".repeat(20)), "unknown", []],
  "an empty file": [Buffer.alloc(0), "unknown", []],
};

for (const [name, [bytes, format, arch]] of Object.entries(CASES)) {
  test(`${name} is ${format}`, () => assert.deepEqual(identify(bytes), { format, arch }));
}

test("this Node is loadable here", () => {
  const found = readExecutable(process.execPath);
  assert.ok(found);
  assert.ok(found.arch.includes(process.arch));
  assert.ok(isLoadable(found, process.platform));
});

test("each system loads its own format, and a script where there is a kernel for it", () => {
  const of = (format: "elf" | "mach-o" | "pe" | "script" | "unknown") => ({ format, arch: [] });
  assert.ok(isLoadable(of("elf"), "linux") && isLoadable(of("script"), "linux"));
  assert.ok(isLoadable(of("mach-o"), "darwin") && isLoadable(of("pe"), "win32"));
  assert.ok(!isLoadable(of("script"), "win32") && !isLoadable(of("elf"), "darwin"));
  assert.ok(!isLoadable(of("pe"), "linux") && !isLoadable(of("unknown"), "linux"));
});

test("a file that cannot be read is not judged", () => {
  assert.equal(readExecutable("/no/such/file"), undefined);
});
