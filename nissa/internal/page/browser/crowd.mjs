// What the pages show when much is wrong at once.
import { telemetry } from "./bus.mjs";
import { close, go, open, want } from "./page.mjs";
import { until } from "./world.mjs";

const ago = (seconds) => new Date(Date.now() - 1000 * seconds).toISOString();

// alerts are as Nissa serves them, the gravest not first.
const alerts = [
  ["dead_letters", "weatherlight", { instance: "other-box" }, "warning", "firing", "Messages became dead letters", "oona.dead_letter_total is 5", 40],
  ["tamiyo_bsds_elevated_risk", "tamiyo", {}, "info", "firing", "A blueprint of elevated risk is germinated", "tamiyo.blueprint.risk is 0.95", 60],
  ["oona_queue_depth", "weatherlight", { instance: "other-box", metric: "normal" }, "warning", "pending", "A stream of the bus is nearly full of what is not read, and is about to lose it", "oona.queue_backlog_normal is 9600", 90],
  ["bus_messages", "nissa", { burn: "fast" }, "critical", "firing", "99.9 % of the messages are handled and do not become dead letters", "it burns up to 625.0 times too fast", 7200],
  ["rollback", "tolaria", { run: "night-7-with-a-rather-long-name-of-a-run" }, "critical", "resolved", "A trainer missed its deadline and rolled back", "rollback_deadline_triggered training_run_id=night-7-with-a-rather-long-name-of-a-run", 300],
].map(([rule, source, labels, severity, state, summary, detail, age], i) => ({
  id: `alert/${i}`, rule, source, labels, severity, state, summary, detail, since: ago(age), ...(state === "resolved" ? { ended: ago(30), reason: "recovered" } : {}),
}));

const objectives = [
  { name: "bus_messages", summary: "s", target: 0.999, window: "30d", total: 100, bad: 62, attained: 0.375, budget_left: -624, burn_rates: { "1h": 625, "5m": 12.5 }, burning: ["fast", "slow"] },
  { name: "kernel_latency", summary: "s", target: 0.99, window: "4w", total: 0, bad: 0 },
];

const letters = [
  ["1796079240190-0", "weatherlight", "STATE", "exhausted", "the handler failed five times: the store of runs does not answer, and has not for a while", ""],
  ["1796079240190-1", "nissa-recorders-of-a-large-site", "ADAPTATION_COMMAND", "bad_signature", "signature is invalid", "dead letter cannot be replayed: signature is invalid"],
].map(([id, group, type, reason, error, refused]) => ({ id, time: ago(60), stream: "oona.normal", group, type, reason, error, attempts: 5, bytes: 200, refused }));

const sources = ["weatherlight/another-box-of-a-large-site", "weatherlight/dev"].map((name) => ({
  name, first_at: ago(500), last_at: ago(2), packets: 1200, health: "unhealthy", summary: "steady", indicators: { "system mode": "emergency" },
  figures: ["emergency", "kernel_requests", "kernel_ready", "telemetry"].flatMap((stream) => [`oona.queue_depth_${stream}`, `oona.queue_backlog_${stream}`, `oona.trimmed_unread_total.${stream}`])
    .concat("weatherlight.worker.kasmina_prefetch_errors.running").map((figure) => ({ name: figure, value: 12_345 })),
}));

// troubled is a page that is answered with all that. What it asks to change it asks Nissa.
async function troubled(base, hash, { later, ...options } = {}) {
  const page = await open(base, "#/", { outages: true, ...options });
  if (later) await page.clock.setFixedTime(Date.now() + later);
  const answer = (path, json) => page.route(path, (route) => (route.request().method() === "GET" ? route.fulfill({ json }) : route.continue()));
  await answer("**/api/alerts**", { alerts });
  await answer("**/api/silences**", { silences: [{ id: "x", rule: "run_silent", source: "", labels: { run: "r-2" }, from: ago(5), until: ago(-3600), by: "ann", comment: "at work" }] });
  await answer("**/api/objectives", { objectives });
  await answer("**/api/deadletters**", { letters });
  await answer("**/api/sources**", { sources, next: null });
  await page.reload();
  await go(page, hash);
  return page;
}

// broken are the words of an element that are drawn on several lines: each of their letters is asked where it lies.
const broken = (page) => page.evaluate(() => {
  const found = [], range = document.createRange();
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest(".unseen, code, pre, [hidden]")) continue;
    for (const word of node.textContent.matchAll(/[\p{L}\d]+/gu)) {
      if (word[0].length > 20) continue;
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      if (new Set([...range.getClientRects()].filter((r) => r.width > 0).map((r) => Math.round(r.top))).size > 1) found.push(word[0]);
    }
  }
  return found;
});

const phone = { width: 360, height: 740, hasTouch: true, isMobile: true };

// crowded are the checks; site says where Nissa is and what sends to its bus.
export function crowded(check, site) {
  const day = 86_400_000; // moments of another day are longer
  const devices = [["a phone", phone, 220], ["1200 px", {}, 100], ["a phone, a year later", { ...phone, later: 400 * day }, 220], ["1200 px, a day later", { later: day }, 100]];
  for (const [device, options, tallest] of devices) {
    check(`what fires and what was given up is read on ${device}`, async () => {
      // Each with how many rows it has at least.
      for (const [hash, rows] of [["#/alarms", 8], ["#/bus", 6], ["#/workers", 2], ["#/runs/large-000/seeds/seed-large-000-3-BP013", 8]]) {
        const page = await troubled(site().base, hash, options);
        await until(`${hash} shows its rows`, async () => (await page.locator("main tbody tr").count()) >= rows, 5000);
        const words = await broken(page);
        want(words.length === 0, `${hash} breaks ${words}`);
        const seen = await page.evaluate(() => ({
          wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          hidden: [...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth).map((e) => `${e.getAttribute("aria-label")} by ${e.scrollWidth - e.clientWidth} px`),
          tall: [...document.querySelectorAll("tbody tr")].map((e) => [e.offsetHeight, e.innerText.replace(/\s+/g, " ").slice(0, 60)]).sort((a, b) => b[0] - a[0])[0],
        }));
        want(seen.wide <= 0 && seen.hidden.length === 0, `${hash}: ${JSON.stringify(seen)}`);
        want(seen.tall[0] <= tallest, `${hash}: a row is ${seen.tall} px tall`);
        want(/seeds/.test(hash) || (await page.locator("main .panel .segmented").count()) === 0, `${hash} has a switch that switches nothing`);
        await close(page);
      }
    });
  }

  check("alerts are counted, and in the order of their gravity", async () => {
    const page = await troubled(site().base, "#/alarms");
    const { alarms } = await (await fetch(site().base + "/api/alarms")).json();
    const raised = alarms.filter((a) => a.raised).length;
    await until("the badge counts what fires above information", async () => (await page.locator(".badge").innerText()) === String(raised + 2));
    const shown = page.getByRole("region", { name: "Alerts" }).locator("tbody tr");
    await until("the alerts are shown", async () => (await shown.count()) === alerts.length);
    const rows = await shown.allInnerTexts();
    const order = rows.map((text) => /critical|warning|info/.exec(text)?.[0] + " " + /firing|pending|resolved/.exec(text)?.[0]);
    want(order.join() === "critical firing,warning firing,info firing,warning pending,critical resolved", `the order is ${order}`);
    want(/2 h ago/.test(rows[0]) && /it recovered/.test(rows[4]) && !/rollback_deadline/.test(rows[4]), JSON.stringify(rows));
    const objectives = await page.getByRole("region", { name: "Objectives" }).innerText();
    want(/625\.0 over 1 h/.test(objectives) && /30 d/.test(objectives) && /28 d/.test(objectives), objectives);
    await close(page);
  });

  check("a refusal is seen where the button is, and a removal is asked about", async () => {
    let page = await troubled(site().base, "#/alarms", phone);
    const inSight = async () => {
      const box = await page.getByText("a bearer token is needed").boundingBox();
      want(box && box.y >= 0 && box.y + box.height <= phone.height, `the answer is at ${JSON.stringify(box)}`);
    };
    const button = page.getByRole("button", { name: "Take up" }).last();
    want((await page.getByLabel("Token").boundingBox()).y < (await button.boundingBox()).y, "the token is asked for below the alerts");
    await button.click();
    await page.getByText("a bearer token is needed").waitFor();
    await inSight();
    await close(page);
    page = await troubled(site().base, "#/bus", phone);
    const letter = (id) => page.locator(`[data-letter="${id}"]`);
    want((await letter("1796079240190-1").getByRole("button", { name: "Replay" }).count()) === 0, "a replay is offered that can never be");
    const asked = [];
    page.on("request", (r) => { if (r.method() === "DELETE") asked.push(r.url()); });
    await letter("1796079240190-0").getByRole("button", { name: "Remove" }).click();
    await letter("1796079240190-0").getByRole("button", { name: "Keep" }).click();
    await letter("1796079240190-0").getByRole("button", { name: "Remove" }).click();
    want(asked.length === 0, "one click removes a letter");
    await letter("1796079240190-0").getByRole("button", { name: "Remove for good" }).click();
    await page.getByText("a bearer token is needed").waitFor();
    await inSight();
    await close(page);
  });

  check("the feed of alerts says them in plain words, and keeps them when much else is told", async () => {
    const { base, sender } = site();
    await sender.send(telemetry({ source: "nissa", events: [{ name: "alert_fires", attributes: { alert: "6e6e38fd78f3f16b", rule: "bus_messages", source: "nissa", severity: "critical",
      summary: "Messages are handled", detail: "oona.dead_letter_total is 9", label_burn: "fast" } }, { name: "alert_resolved", attributes: { alert: "6e6e38fd78f3f16b", rule: "bus_messages", source: "nissa",
      severity: "critical", summary: "Messages are handled", detail: "quiet", label_burn: "fast" } }, { name: "dead_letter_removed", attributes: { letter: "7-0", by: "bob" } }] }));
    for (let i = 0; i < 6; i++) await sender.send(telemetry({ source: "tezzeret", events: Array.from({ length: 60 }, () => ({ name: "compile_started", attributes: {} })) }));
    await until("all that is stored", async () => (await (await fetch(base + "/api/events?kind=event&limit=400")).json()).events.filter((e) => e.name === "compile_started").length >= 360);
    const page = await open(base, "#/alarms");
    const fires = page.locator(".feed li", { hasText: "Alert bus messages of nissa, burn fast fires (critical): Messages are handled: oona.dead_letter_total is 9" });
    await fires.waitFor({ timeout: 5000 });
    want(/level-critical/.test(await fires.getAttribute("class")), "a critical alert looks like any other line");
    await page.locator(".feed li", { hasText: "Alert bus messages of nissa, burn fast has ended: it did not come again" }).waitFor({ timeout: 5000 });
    await go(page, "#/bus");
    await page.locator(".feed li", { hasText: "bob removed dead letter 7-0" }).waitFor({ timeout: 5000 });
    await close(page);
  });

  check("commands that mean the opposite are told apart", async () => {
    const page = await open(site().base, "#/");
    const commands = [
      ["PAUSE", { reason: "operator_request" }, "Ann asked to pause the seed: operator request"], ["PAUSE", { resume: "true" }, "Ann asked to bring the seed back"],
      ["EMERGENCY", { level: "EMERGENCY_LEVEL_HALT" }, "Ann halted the run"], ["EMERGENCY", { level: "4" }, "Ann halted the run"],
      ["EMERGENCY", { level: "EMERGENCY_LEVEL_CONSERVATIVE" }, "Ann set the run to conservative mode"], ["EMERGENCY", { level: "no level" }, "Ann set the run to conservative mode"],
      ["EMERGENCY", { level: "EMERGENCY_LEVEL_NOTICE" }, "Ann ended the run's emergency"], ["EMERGENCY", { level: "1" }, "Ann ended the run's emergency"],
    ];
    const events = commands.map(([name, details], i) => ({ seq: 9e6 - i, run: "large-000", at: ago(i), kind: "command", name, source: "ann", level: "info", details }));
    await page.route("**/api/runs/large-000/events**", (route) => route.fulfill({ json: { events, next: null } }));
    await go(page, "#/runs/large-000");
    const lines = page.locator(".feed li");
    await until("the commands are told", async () => (await lines.count()) === commands.length);
    const told = await lines.allInnerTexts();
    commands.forEach(([, , sentence], i) => want(told[i].trim().endsWith(sentence), `${JSON.stringify(told[i])} is not ${sentence}`));
    await close(page);
  });

  check("a seed's page says what its blueprint is", async () => {
    const page = await open(site().base, "#/runs/large-000/seeds/seed-large-000-3-BP013");
    const head = await page.locator("main").innerText();
    want(/^BP013 grouped conv 3$/m.test(head) && /Blueprint\s+BP013 grouped conv\s/.test(head), head);
    want(/Kind\s+safe, risk 0\.4, 12,576 parameters/.test(head), head);
    want(/Tamiyo asked for a seed of BP013 grouped conv behind hidden: validation has stalled for 8 epochs/.test(head), head);
    const answer = { seed: { run: "large-000", id: "s", blueprint: "BP099", stage: "TRAINING", alpha: null, paused: false, first_at: ago(9), last_at: ago(9), stages: [] }, points: [], events: [] };
    await page.route("**/api/runs/large-000/seeds/s**", (route) => route.fulfill({ json: answer }));
    await go(page, "#/runs/large-000/seeds/s");
    want(/Blueprint\s+BP099\s+Kind\s+\u2014/.test(await page.locator("main .facts").innerText()), await page.locator("main .facts").innerText());
    await close(page);
  });

  check("what a service does not tell is not shown as fine, and what is done not as broken", async () => {
    const { base, sender } = site();
    await sender.send(telemetry({ source: "sparse", health: 1, metrics: { "oona.queue_backlog_normal": 9600, "weatherlight.worker.tezzeret_forge.running": 0, "weatherlight.worker.outbox.running": 0, "weatherlight.worker.outbox.backoff_seconds": 2 } }));
    const page = await open(base, "#/bus");
    const told = page.locator('[data-of="sparse"] .facts');
    await told.waitFor({ timeout: 10_000 });
    want(/Dead letters now\s+\u2014/.test(await told.innerText()) && /Conservative\s+\u2014/.test(await told.innerText()), await told.innerText());
    await go(page, "#/workers");
    const worker = (name) => page.locator(".panel", { has: page.getByRole("heading", { name: /sparse/ }) }).locator("li", { hasText: name });
    want(/done/.test(await worker("tezzeret forge").innerText()) && (await worker("tezzeret forge").locator(".bad").count()) === 0, "a worker that is done is told as broken");
    want(/not running/.test(await worker("outbox").innerText()), "a worker that waits to begin again is not told of");
    await close(page);
  });

  check("the legend of four lines fits a phone, its tools a finger, and no box surrounds the page", async () => {
    const page = await open(site().base, "#/runs/large-000", phone);
    const over = await page.evaluate(() => {
      const parts = [...document.querySelectorAll("svg.curve .legend text, svg.curve .legend path")].map((e) => [e.textContent || "a line", e.getBoundingClientRect()]);
      const found = parts.filter(([, r]) => r.right > document.documentElement.clientWidth).map(([text]) => `${text} is cut`);
      parts.forEach(([text, a], i) => parts.slice(i + 1).forEach(([other, b]) => { if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) found.push(`${text} lies over ${other}`); }));
      return { lines: parts.length, found };
    });
    want(over.lines === 8 && over.found.length === 0, JSON.stringify(over));
    want((await page.locator(".check").boundingBox()).height >= 24 && (await page.locator(".feed a").first().boundingBox()).height >= 24, "what is pressed is too small");
    await page.locator(".top nav a").nth(1).focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.body.dataset.loaded === "#/kernels");
    want(await page.evaluate(() => document.activeElement.id === "main" && getComputedStyle(document.activeElement).outlineStyle === "none"), "a box surrounds the page");
    await close(page);
  });
}
