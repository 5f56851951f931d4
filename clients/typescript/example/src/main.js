// Electron's entry: joins Electron, the supervisor and the app. All logic is in app.js.
import path from "node:path";
import { fileURLToPath } from "node:url";
import { app, BrowserWindow, ipcMain } from "electron";
import { SidecarHost } from "embedding-sidecar";
import { runApp } from "./app.js";

const checkout = fileURLToPath(new URL("../../../..", import.meta.url));

const host = new SidecarHost({
  // In development the supervisor runs from the checkout; an installed app ships the bundle.
  ...(app.isPackaged
    ? { model: path.join(process.resourcesPath, "model") }
    : { model: "embedded", project: checkout }),
  stateDir: path.join(app.getPath("userData"), "embedding-sidecar"),
});

runApp({ app, BrowserWindow, ipcMain, host });
