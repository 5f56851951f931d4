import assert from "node:assert/strict";
import { test } from "node:test";
import { LineSplitter, Tail } from "../src/lines.js";

const CASES: Record<string, readonly [input: Buffer, lines: readonly string[]]> = {
  nothing: [Buffer.alloc(0), []],
  "one line": [Buffer.from("a\n"), ["a"]],
  "line ends of Windows": [Buffer.from("a\r\nb\r\n"), ["a", "b"]],
  "empty lines": [Buffer.from("\n\na\n"), ["", "", "a"]],
  "no end": [Buffer.from("a\nhalf"), ["a", "half"]],
  "characters of several bytes": [Buffer.from("ä\n文字🙂\n"), ["ä", "文字🙂"]],
  "bytes that are no UTF-8": [Buffer.from([0xff, 0x61, 0x0a]), ["\ufffda"]],
  "a carriage return within": [Buffer.from("a\rb\n"), ["a\rb"]],
};

for (const [name, [input, lines]] of Object.entries(CASES)) {
  test(`${name}: whole, byte by byte, in two parts`, () => {
    const sizes = [input.length || 1, 1, Math.ceil(input.length / 2) || 1];
    for (const size of sizes) {
      const splitter = new LineSplitter();
      const found: string[] = [];
      for (let at = 0; at < input.length; at += size) {
        found.push(...splitter.push(input.subarray(at, at + size)));
      }
      assert.deepEqual([...found, ...splitter.end()], lines);
    }
  });
}

test("a line over the limit is cut, and the next one is whole", () => {
  const splitter = new LineSplitter(10);
  assert.deepEqual(splitter.push(Buffer.from("x".repeat(7))), []);
  assert.deepEqual(splitter.push(Buffer.from(`${"x".repeat(90)}\nnext\n`)), [
    "x".repeat(10),
    "next",
  ]);
});

test("the tail keeps the last lines, shortened, and no empty one", () => {
  const tail = new Tail(2, 3);
  for (const line of ["one", "two", " ", "three"]) tail.push(line);
  assert.deepEqual(tail.lines, ["two", "thr"]);
});
