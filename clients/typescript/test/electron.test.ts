import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { SidecarHost, stopBeforeQuit } from "embedding-sidecar";

const SCRIPT = fileURLToPath(new URL("fixtures/supervisor.js", import.meta.url));

/** Quits as Electron does: asks first, and again at every `quit`. */
class App extends EventEmitter {
  readonly quitted = new Promise<void>((resolve) => {
    this.once("quitted", resolve);
  });
  asked = 0;

  quit(): void {
    this.asked += 1;
    let isPrevented = false;
    const preventDefault = () => {
      isPrevented = true;
    };
    this.emit("before-quit", { preventDefault });
    if (!isPrevented) this.emit("quitted");
  }
}

function sidecar(manner: string): SidecarHost {
  return new SidecarHost({ command: [process.execPath, SCRIPT, manner], stopTimeoutMs: 300 });
}

for (const manner of ["well", "deaf"]) {
  test(`the app quits when the supervisor has ended (${manner})`, async () => {
    const app = new App();
    const host = sidecar(manner);
    stopBeforeQuit(app, host);
    await host.start();
    app.quit();
    app.quit(); // an impatient user
    assert.ok(host.isRunning);
    await app.quitted;
    assert.ok(!host.isRunning);
    assert.equal(app.asked, 3);
  });
}

test("an app whose supervisor does not run quits at once", async () => {
  const app = new App();
  stopBeforeQuit(app, sidecar("well"));
  app.quit();
  await app.quitted;
  assert.equal(app.asked, 1);
});

test("an app that stayed open can quit the next time as well", async () => {
  const app = new App();
  const host = sidecar("well");
  stopBeforeQuit(app, host);
  for (let round = 1; round <= 2; round++) {
    await host.start();
    const quitted = new Promise((resolve) => app.once("quitted", resolve));
    app.quit();
    await quitted;
    assert.ok(!host.isRunning);
  }
});
