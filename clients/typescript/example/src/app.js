// The app's logic. Electron's parts are handed in, so that it also runs under plain Node.
import { fileURLToPath } from "node:url";
import { SidecarError, stopBeforeQuit } from "embedding-sidecar";
import { NOTES } from "./notes.js";
import { NoteSearch } from "./search.js";

const file = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Open the window, start the supervisor, answer the page.
 *
 * @param {{
 *   app: import("electron").App,
 *   BrowserWindow: typeof import("electron").BrowserWindow,
 *   ipcMain: import("electron").IpcMain,
 *   host: import("embedding-sidecar").SidecarHost,
 * }} parts
 */
export function runApp({ app, BrowserWindow, ipcMain, host }) {
  const search = new NoteSearch(NOTES, () => host.client);
  // A failure reaches the page as a status, like everything else of a start.
  const start = () =>
    host
      .start()
      .then(() => search.prepare())
      .catch(() => {});

  ipcMain.handle("sidecar:status", () => host.status());
  ipcMain.handle("sidecar:start", () => void start());
  ipcMain.handle("sidecar:search", (_event, query) => answer(search.find(String(query))));

  app.whenReady().then(() => {
    const window = new BrowserWindow({
      width: 720,
      height: 640,
      title: "Note Search",
      webPreferences: { preload: file("preload.cjs"), contextIsolation: true, sandbox: true },
    });
    window.webContents.setWindowOpenHandler(() => ({ action: "deny" }));
    host.on("status", (status) => {
      if (!window.isDestroyed()) window.webContents.send("sidecar:status", status);
    });
    void window.loadFile(file("renderer/index.html"));
    void start();
  });
  app.on("window-all-closed", () => app.quit());
  stopBeforeQuit(app, host);
}

/**
 * IPC keeps only the message of an error; as data it keeps code and hint too.
 *
 * @template T
 * @param {Promise<T>} promise
 */
async function answer(promise) {
  try {
    return { ok: true, value: await promise };
  } catch (error) {
    if (SidecarError.is(error)) return { ok: false, error: error.toJSON() };
    throw error;
  }
}
