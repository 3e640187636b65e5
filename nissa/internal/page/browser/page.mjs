// A page of Nissa in Debian's Chromium, of which everything red is noted.
import { chromium } from "playwright-core";

export const faults = [];

export function want(holds, text) {
  if (!holds) throw new Error(text);
}

export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
});

// open is a page of which everything red is noted; outages are allowed to be told.
export async function open(base, hash, { width = 1200, height = 900, outages = false, loads = true, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  await page.addInitScript(() => {
    window.violations = [];
    window.busy = 0;
    addEventListener("securitypolicyviolation", (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.busy = Math.max(window.busy, entry.duration); }).observe({ type: "longtask" });
  });
  page.on("console", (m) => { if (m.type() !== "log" && m.type() !== "info" && !(outages && /ERR_|Failed to load/.test(m.text()))) faults.push(`${hash}: console ${m.type()}: ${m.text()}`); });
  page.on("pageerror", (e) => faults.push(`${hash}: ${e.stack}`));
  page.on("dialog", (d) => { faults.push(`${hash}: dialog ${d.message()}`); void d.dismiss(); });
  page.on("request", (r) => { if (!r.url().startsWith(base + "/") && !r.url().startsWith("blob:")) faults.push(`${hash}: asks ${r.url()}`); });
  page.base = base;
  if (loads) await go(page, hash);
  else await page.goto(base + "/" + hash);
  return page;
}

export async function go(page, hash) {
  if (page.url() === "about:blank") await page.goto(page.base + "/" + hash);
  else await page.evaluate((to) => { location.hash = to; }, hash);
  await page.waitForFunction(() => document.body?.dataset.loaded === location.hash, null, { timeout: 15_000 });
}

export async function close(page) {
  const violations = await page.evaluate(() => window.violations);
  await page.context().close();
  want(violations.length === 0, `the policy was violated: ${violations}`);
}
