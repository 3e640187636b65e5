// Takes how soon the page can be used, and how soon it shows what was told on the bus.
// Usage: node measure.mjs ADDRESS REDIS_PORT SECRET PAGES EVENTS; prints {"interactive": [ms], "event": [ms]}
import { Bus, report, telemetry } from "./bus.mjs";
import { browser, close, faults, open, want } from "./page.mjs";

const [base, port, secret, pages, events] = process.argv.slice(2);
const sender = new Bus(Number(port), secret), run = `measured-${process.pid}`;

// interactive is the time from the navigation until the page has what it shows, and takes clicks.
async function interactive() {
  const page = await open(base, "#/");
  await page.reload();
  const took = await page.evaluate(() => new Promise((resolve) => {
    const look = () => (document.body?.dataset.loaded === location.hash ? resolve(performance.now()) : requestAnimationFrame(look));
    look();
  }));
  await close(page);
  return took;
}

// event is the time from before an event is put on the bus until it stands in the feed of its run.
async function event(page, n) {
  const seen = page.evaluate((text) => new Promise((resolve) => {
    const look = () => { if (document.querySelector(".feed")?.textContent.includes(text)) { watch.disconnect(); resolve(Date.now()); } };
    const watch = new MutationObserver(look);
    watch.observe(document.body, { childList: true, subtree: true, characterData: true });
    look();
  }), `marker ${n} of it`);
  await page.waitForTimeout(20 + (n * 37) % 230); // at no fixed place of its beats
  const sent = Date.now();
  await sender.send(telemetry({ source: "bench", indicators: { training_run_id: run }, events: [{ name: `alert_marker_${n}_of_it` }] }));
  return (await seen) - sent;
}

const took = { interactive: [], event: [] };
for (let n = 0; n < 10; n++) await sender.send(report({ run, epoch: n, loss: 1 / (n + 1) }));
for (let n = 0; n < Number(pages); n++) took.interactive.push(await interactive());
const page = await open(base, "#/runs/" + run);
await page.locator("#link[data-state=live]").waitFor();
for (let n = 0; n < Number(events); n++) took.event.push(await event(page, n));
await close(page);
want(faults.length === 0, faults.join("\n"));
console.log(JSON.stringify(took));
sender.close();
await browser.close();
