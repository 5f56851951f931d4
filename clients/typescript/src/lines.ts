/** Bytes to lines, whatever their chunks, with bounded memory. No I/O. */

const LF = 0x0a;
const CR = 0x0d;

/** Cuts a byte stream into lines. What is over `maxBytes` of a line is dropped. */
export class LineSplitter {
  #parts: Buffer[] = [];
  #bytes = 0;
  readonly #maxBytes: number;

  constructor(maxBytes = 1024 * 1024) {
    this.#maxBytes = maxBytes;
  }

  /** Return the lines that `chunk` completes, without their ends; bad UTF-8 becomes U+FFFD. */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      this.#keep(chunk.subarray(start, end));
      lines.push(this.#take());
      start = end + 1;
    }
    this.#keep(chunk.subarray(start));
    return lines;
  }

  /** Return what stands after the last line end, if anything does. */
  end(): string[] {
    return this.#bytes > 0 ? [this.#take()] : [];
  }

  #keep(part: Buffer): void {
    const kept = part.subarray(0, this.#maxBytes - this.#bytes);
    if (kept.length === 0) return;
    this.#parts.push(kept);
    this.#bytes += kept.length;
  }

  #take(): string {
    const line = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    return line.toString("utf8", 0, line.at(-1) === CR ? line.length - 1 : line.length);
  }
}

/** The last lines of an output, for the report of a failure. */
export class Tail {
  #lines: string[] = [];

  constructor(
    private readonly maxLines = 40,
    private readonly maxCharacters = 500,
  ) {}

  push(line: string): void {
    if (line.trim() === "") return;
    this.#lines.push(line.slice(0, this.maxCharacters));
    if (this.#lines.length > this.maxLines) this.#lines.shift();
  }

  get lines(): readonly string[] {
    return [...this.#lines];
  }
}
