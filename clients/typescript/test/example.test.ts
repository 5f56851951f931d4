import assert from "node:assert/strict";
import { cpSync, mkdirSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type HostOptions, SidecarHost } from "embedding-sidecar";
import type { Browser, Page } from "playwright-core";
import { CHROMIUM, FakeElectron, openBrowser } from "./fixtures/browser.js";

// A copy within this package's own folder finds this package by its name, without an installation.
const EXAMPLE = new URL("../example/", import.meta.url);
cpSync(new URL("../../example/src/", import.meta.url), EXAMPLE, { recursive: true });
const { runApp } = (await import(`${EXAMPLE.href}app.js`)) as { runApp: (parts: object) => void };
const { nearest } = (await import(`${EXAMPLE.href}search.js`)) as {
  nearest: (
    notes: readonly string[],
    vectors: readonly Float32Array[],
    wanted: Float32Array,
  ) => { text: string; score: number }[];
};

const SCRIPT = fileURLToPath(new URL("fixtures/supervisor.js", import.meta.url));
const SHOTS = process.env["SCREENSHOTS"];
const skip = CHROMIUM === undefined ? "no Chromium here; name one in $CHROMIUM" : false;

let browser: Browser;
before(async () => {
  if (!skip) browser = await openBrowser();
});
after(() => browser?.close());

const hosts: SidecarHost[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.stop().catch(() => {})));
});

/** Run the app as Electron would; resolves when its page is there. */
async function run(manner: string, options: HostOptions = {}) {
  const electron = new FakeElectron(browser);
  const command = [process.execPath, SCRIPT, manner] as const;
  const host = new SidecarHost({ command, stopTimeoutMs: 20_000, ...options });
  hosts.push(host);
  const { app, BrowserWindow, ipcMain } = electron;
  runApp({ app, BrowserWindow, ipcMain, host });
  const page = await electron.page;
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  const quit = async () => {
    app.quit();
    await app.quitted;
    await page.close();
    assert.deepEqual(problems, []);
  };
  return { page, host, quit };
}

async function shoot(page: Page, name: string): Promise<void> {
  if (SHOTS === undefined) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/${name}.png` });
}

test("the nearest note comes first", () => {
  const rows = [Float32Array.of(1, 0), Float32Array.of(0, 1), Float32Array.of(0.6, 0.8)];
  const hits = nearest(["a", "b", "c"], rows, Float32Array.of(0, 1));
  assert.deepEqual(
    hits.map(({ text }) => text),
    ["b", "c", "a"],
  );
});

test("the splash shows the start, then the search box takes its place", { skip }, async () => {
  const { page, quit } = await run("well", { env: { DELAY_MS: "1500" } });
  await page.waitForSelector("#stages .current");
  assert.equal(await page.locator("#stages li").count(), 9);
  await shoot(page, "splash");
  await page.waitForSelector("#search:not([hidden])");
  assert.ok(await page.locator("#splash").isHidden());
  assert.equal(await page.evaluate("document.activeElement.id"), "query");
  await page.keyboard.type("pet medicine");
  await page.waitForSelector("#hits li");
  assert.equal(await page.locator("#hits li").count(), 5);
  assert.equal(await page.locator("#summary").textContent(), "5 nearest notes");
  await page.fill("#query", "");
  await page.locator("#hits li").first().waitFor({ state: "detached" });
  await quit();
});

test("a failed start is told, and can be tried again", { skip }, async () => {
  const { page, host, quit } = await run("refuses");
  await page.waitForSelector("#problem:not([hidden])");
  assert.equal(await page.locator("#problem-code").textContent(), "PYTHON_VERSION_INCOMPATIBLE");
  assert.equal(await page.locator("#problem-message").textContent(), "Wanted 3.11, found 3.8.");
  assert.equal(await page.locator("#problem-hint").textContent(), "Install one.");
  assert.equal(await page.locator("#stages .failed").textContent(), "Checks");
  await shoot(page, "problem");
  if (host.isRunning) await new Promise((resolve) => host.on("exit", resolve));
  const again = new Promise((resolve) => host.on("startup:error", resolve));
  await page.getByRole("button", { name: "Try again" }).click();
  await again;
  await quit();
});

test("the page sees four functions and nothing of Node", { skip }, async () => {
  const { page, quit } = await run("well");
  const names = await page.evaluate("Object.keys(window.sidecar).sort()");
  assert.deepEqual(names, ["onStatus", "search", "start", "status"]);
  assert.deepEqual(await page.evaluate("[typeof require, typeof process]"), [
    "undefined",
    "undefined",
  ]);
  await quit();
});

test("a search while nothing runs is answered with what to do", { skip }, async () => {
  const { page, host, quit } = await run("well");
  await page.waitForSelector("#search:not([hidden])");
  await host.stop();
  await page.fill("#query", "pet medicine");
  await page.getByText("No supervisor is ready. Await start() first.").waitFor();
  assert.match((await page.locator("#notice").textContent()) ?? "", /stopped/);
  await quit();
});
