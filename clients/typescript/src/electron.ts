import type { SidecarHost } from "./host.js";

/** The part of Electron's `app` that is used; the package does not depend on Electron. */
export interface QuittableApp {
  on(name: "before-quit", listener: (event: { preventDefault(): void }) => void): unknown;
  quit(): void;
}

/**
 * Let the app quit only after the supervisor drained and stopped, within `stopTimeoutMs`.
 *
 * Quitting works without it too: the supervisor notices that the host is gone. With it, nothing
 * is left the moment the app is gone, which an installer that replaces files relies on.
 */
export function stopBeforeQuit(app: QuittableApp, host: SidecarHost): void {
  let isStopping = false;
  let hasGivenUp = false;
  app.on("before-quit", (event) => {
    if (!host.isRunning || hasGivenUp) return;
    event.preventDefault();
    if (isStopping) return;
    isStopping = true;
    const giveUp = () => {
      hasGivenUp = true;
    };
    host
      .stop()
      .catch(giveUp)
      .finally(() => {
        isStopping = false;
        app.quit();
      });
  });
}
