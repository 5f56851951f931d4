/** What kind of executable a file is, from its first bytes. No I/O. */

/** Enough of a file to tell. */
export const HEADER_BYTES = 4096;

/** `arch` as `process.arch` spells it; more than one in a universal binary. */
export interface Executable {
  readonly format: "elf" | "mach-o" | "pe" | "script" | "unknown";
  readonly arch: readonly string[];
}

const ELF_MACHINES: Readonly<Record<number, string>> = {
  3: "ia32",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "x64",
  183: "arm64",
  243: "riscv64",
};
const MACH_CPUS: Readonly<Record<number, string>> = {
  7: "ia32",
  16777223: "x64",
  16777228: "arm64",
};
const PE_MACHINES: Readonly<Record<number, string>> = {
  332: "ia32",
  34404: "x64",
  43620: "arm64",
};
const MACH_THIN = [0xfeedface, 0xfeedfacf];
const MACH_UNIVERSAL = 0xcafebabe;

/** A Java class file has the same magic; its version stands where the count does, and is over this. */
const MOST_ARCHITECTURES = 16;

/** Read `header`, the first `HEADER_BYTES` of a file or all of it. */
export function identify(header: Buffer): Executable {
  if (header.length < 64) return { format: isScript(header) ? "script" : "unknown", arch: [] };
  if (header.readUInt32BE(0) === 0x7f454c46) return { format: "elf", arch: elf(header) };
  if (MACH_THIN.includes(header.readUInt32LE(0))) {
    return { format: "mach-o", arch: named(MACH_CPUS, header.readUInt32LE(4)) };
  }
  if (header.readUInt32BE(0) === MACH_UNIVERSAL) return universal(header);
  if (header.toString("latin1", 0, 2) === "MZ") return { format: "pe", arch: pe(header) };
  return { format: isScript(header) ? "script" : "unknown", arch: [] };
}

function isScript(header: Buffer): boolean {
  return header.toString("latin1", 0, 2) === "#!";
}

function elf(header: Buffer): string[] {
  const isBigEndian = header[5] === 2;
  return named(ELF_MACHINES, isBigEndian ? header.readUInt16BE(18) : header.readUInt16LE(18));
}

function universal(header: Buffer): Executable {
  const count = header.readUInt32BE(4);
  if (count > MOST_ARCHITECTURES) return { format: "unknown", arch: [] };
  const starts = Array.from({ length: count }, (_, i) => 8 + 20 * i);
  const cpus = starts.filter((at) => at + 4 <= header.length).map((at) => header.readUInt32BE(at));
  return { format: "mach-o", arch: cpus.flatMap((cpu) => named(MACH_CPUS, cpu)) };
}

function pe(header: Buffer): string[] {
  const at = header.readUInt32LE(60);
  const isHere = at + 6 <= header.length && header.toString("latin1", at, at + 4) === "PE\0\0";
  return isHere ? named(PE_MACHINES, header.readUInt16LE(at + 4)) : [];
}

function named(names: Readonly<Record<number, string>>, number: number): string[] {
  const name = names[number];
  return name === undefined ? [] : [name];
}

const FORMATS: Partial<Record<NodeJS.Platform, Executable["format"]>> = {
  darwin: "mach-o",
  win32: "pe",
};

/** Whether the system can load the format at all. Without this check, a shell would run it as a script. */
export function isLoadable({ format }: Executable, platform: NodeJS.Platform): boolean {
  return format === (FORMATS[platform] ?? "elf") || (format === "script" && platform !== "win32");
}
