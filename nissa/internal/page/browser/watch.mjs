// Looks at a Nissa's page for whoever says on standard input what is to be seen: a line of JSON each, with the page
// (at), an element of it (selector) and texts that it has, or with gone: has no more. Each is answered by a line, with a
// fault when it was not seen; the end of the input by what was red meanwhile, and an exit code.
// Usage: node watch.mjs http://127.0.0.1:9100
import readline from "node:readline";
import { browser, close, faults, go, open } from "./page.mjs";

const patience = 60_000;
const say = (answer) => console.log(JSON.stringify(answer));

async function see(page, { at, selector, texts = [], gone = false }) {
  await go(page, at);
  const seen = texts.reduce((found, hasText) => found.filter({ hasText }), page.locator(selector));
  if (gone) return page.waitForFunction(([s, t]) => ![...document.querySelectorAll(s)].some((e) => t.every((text) => e.textContent.includes(text))), [selector, texts], { timeout: patience });
  return seen.first().waitFor({ state: "attached", timeout: patience });
}

try {
  const page = await open(process.argv[2], "#/");
  say({ ready: true });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const fault = await see(page, JSON.parse(line)).then(() => "", async (error) => `${error.message}\n${await page.locator("main").innerText()}`);
    say({ fault });
  }
  await close(page);
} catch (error) {
  faults.push(error.stack);
}
await browser.close();
faults.forEach((fault) => console.error(fault));
process.exit(faults.length === 0 ? 0 : 1);
