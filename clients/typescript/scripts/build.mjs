// Compile src twice: dist/esm for `import`, dist/cjs for `require`.
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const tsc = fileURLToPath(new URL("bin/tsc", import.meta.resolve("typescript/package.json")));

rmSync(`${root}/dist`, { recursive: true, force: true });
for (const project of ["tsconfig.esm.json", "tsconfig.cjs.json"]) {
  execFileSync(process.execPath, [tsc, "-p", project], { cwd: root, stdio: "inherit" });
}
// The package is `type: module`; without this Node would read dist/cjs as ESM.
writeFileSync(`${root}/dist/cjs/package.json`, '{"type":"commonjs"}\n');
