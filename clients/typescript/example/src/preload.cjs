// The page's whole view of the app: these four functions, and nothing of Node or Electron.
const { contextBridge, ipcRenderer } = require("electron");

contextBridge.exposeInMainWorld("sidecar", {
  /** What is known now. */
  status: () => ipcRenderer.invoke("sidecar:status"),
  /** Call `listener` with every later status. */
  onStatus: (/** @type {(status: unknown) => void} */ listener) => {
    ipcRenderer.on("sidecar:status", (_event, status) => listener(status));
  },
  /** Start the supervisor (again). */
  start: () => ipcRenderer.invoke("sidecar:start"),
  /** Give `{ok: true, value}` with hits, or null when a newer query came; else `{ok: false, error}`. */
  search: (/** @type {string} */ query) => ipcRenderer.invoke("sidecar:search", query),
});
