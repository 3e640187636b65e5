// The processes that a check drives: Redis, Nissa, the demo. All end with this one.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

export const bin = path.resolve(import.meta.dirname, "../../../../bin");
export const folder = mkdtempSync(path.join(tmpdir(), "nissa-browser-"));
export const secret = "a secret of the browser's tests";
export const token = "a-token-of-the-browsers-tests";

const running = new Set();

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export function launch(command, args, environ = {}) {
  const child = spawn(command, args, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env.PATH, HOME: folder, TMPDIR: folder, ...environ } });
  const process_ = { child, output: "", ended: new Promise((resolve) => child.on("exit", (code, signal) => { running.delete(child); resolve(code ?? signal); })) };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => { process_.output = (process_.output + data).slice(-200_000); });
  running.add(child);
  return process_;
}

export async function until(what, ask, timeout = 20_000, pause = 50) {
  for (const end = Date.now() + timeout; ;) {
    const answer = await Promise.resolve().then(ask).catch(() => undefined);
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`${what} within ${timeout / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

export async function redis() {
  const port = await freePort();
  const process_ = launch("redis-server", ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder]);
  await until("Redis listens", () => new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); }).on("error", () => resolve(false));
  }));
  return { ...process_, port };
}

// nissa starts one at an address, which stays the same when it is started again.
export async function nissa(site) {
  const process_ = launch(path.join(bin, "esper-nissa-service"), [], environOf(site));
  await until(`Nissa is ready\n${process_.output}`, async () => (await fetch(`http://127.0.0.1:${site.port}/readyz`)).ok);
  return process_;
}

export function environOf({ redisPort, port, database, host = "127.0.0.1" }) {
  return {
    ESPER_LEYLINE_SECRET: secret, REDIS_URL: `redis://127.0.0.1:${redisPort}/0`, NISSA_HTTP_ADDR: `${host}:${port}`,
    NISSA_DATABASE_URL: `sqlite:///${path.join(folder, database)}`, ESP_LOG_LEVEL: "WARNING", NISSA_HTTP_TOKEN: token,
  };
}

export async function end(process_, signal = "SIGTERM") {
  process_.child.kill(signal);
  return process_.ended;
}

export async function endAll() {
  const left = [...running];
  left.forEach((child) => child.kill("SIGTERM"));
  await Promise.race([Promise.all(left.map((child) => new Promise((resolve) => (child.exitCode !== null ? resolve() : child.on("exit", resolve))))),
    new Promise((resolve) => setTimeout(resolve, 8000))]);
  running.forEach((child) => child.kill("SIGKILL"));
  rmSync(folder, { recursive: true, force: true });
}
