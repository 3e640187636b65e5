import {
  change, does, get, operator, optional, Refusal, sources, type Alarm, type Alert, type Event, type Figure, type Letter, type LetterDetails, type Objective, type Source, type Store,
} from "./api";
import { h, named, plain, replace, type Child } from "./dom";
import { ago, bytes as size, count, figure, moment, percent, span } from "./format";
import type { Page } from "./page";
import { facts, failure, Feed, table } from "./parts";
import { words } from "./words";

const every = 3000;

// polled is a page that asks again and again: what it shows is told once in a while anyway.
function polled(title: string, intro: string, fill: (body: HTMLElement) => Promise<Node[]>, more: Partial<Page> = {}, ...below: Node[]): Page {
  const body = h("div", {}), trouble = h("div", {});
  const load = async () => {
    try {
      const parts = await fill(body);
      keeping(body, () => replace(body, ...parts));
      replace(trouble);
    } catch (error) {
      replace(trouble, failure(error));
    }
  };
  const timer = window.setInterval(() => { if (!document.hidden) void load(); }, every);
  return {
    title, load, ...more, close: () => window.clearInterval(timer),
    element: h("div", {}, h("div", { class: "bar" }, h("h1", {}, title)), h("p", { class: "intro" }, intro), trouble, body, ...below),
  };
}

// keeping draws anew what is in a body, and leaves what is open open and what is focused focused. Both are found
// again by what they are of: who presses a key must not hit another line because one above has gone.
function keeping(body: HTMLElement, draw: () => void): void {
  const keyed = (selector: string) => {
    const all = new Map<string, HTMLElement>();
    for (const element of body.querySelectorAll<HTMLElement>(selector)) {
      const of = element.closest<HTMLElement>("[data-of]")?.dataset["of"] ?? "", text = element.getAttribute("aria-label") ?? element.querySelector("summary")?.textContent ?? element.textContent;
      let key = `${of}\n${element.tagName}\n${text}`;
      while (all.has(key)) key += "\n";
      all.set(key, element);
    }
    return all;
  };
  const stops = "a, button, summary, [tabindex]";
  const open = [...keyed("details")].filter(([, d]) => (d as HTMLDetailsElement).open).map(([key]) => key);
  const focused = [...keyed(stops)].find(([, stop]) => stop === document.activeElement)?.[0];
  draw();
  const details = keyed("details");
  for (const key of open) (details.get(key) as HTMLDetailsElement | undefined)?.setAttribute("open", "");
  if (focused !== undefined) keyed(stops).get(focused)?.focus({ preventScroll: true });
}

function value(f: Figure | undefined): string {
  if (!f) return "\u2014";
  return figure(f.value) + (f.unit && f.unit !== "count" && f.unit !== "bool" ? ` ${plain(f.unit, 12)}` : "");
}

function find(source: Source, name: string): Figure | undefined {
  return (source.figures ?? []).find((f) => f.name === name);
}

function figures(source: Source, prefix: string, without: string[] = []): HTMLElement {
  const rows = (source.figures ?? []).filter((f) => f.name.startsWith(prefix) && !without.some((w) => f.name.startsWith(w)))
    .map((f): Child[] => [words(f.name.slice(prefix.length)), Object.entries(f.labels ?? {}).map(([k, v]) => `${plain(k, 32)} ${plain(v, 48)}`).join(", "), value(f)]);
  return table(`Figures of ${plain(source.name, 48)}`, ["Figure", "", "#Last"], rows, "No figure was told.");
}

function about(source: Source): HTMLElement {
  return h("h2", {}, named(source.name, 48), " ", h("span", { class: `faint health-${plain(source.health || "unknown", 12)}` },
    [source.health, source.summary].filter(Boolean).map((t) => plain(t!, 120)).join(", ") || "", " \u00b7 "),
    stale(source) ? h("span", { class: "bad" }, `not heard of since ${ago(source.last_at).replace(" ago", "")}`) : h("span", { class: "faint" }, ago(source.last_at)));
}

// stale is a service that has missed several of its summaries.
function stale(source: Source): boolean {
  return Date.now() - Date.parse(source.last_at) > 60_000;
}

const openCircuit: Record<number, string> = { 1: "closed", 2: "open", 3: "half open" };

export function kernels(): Page {
  return polled("Kernels and forge", "The kernel library and the forge, as each service told last.", async () => {
    const [library, forge] = await Promise.all([sources("/api/kernels"), sources("/api/forge")]);
    const parts: Node[] = [];
    for (const source of library.sources) {
      const hits = find(source, "urza.library.cache_hits")?.value ?? 0, misses = find(source, "urza.library.cache_misses")?.value ?? 0;
      parts.push(h("section", { class: "panel", "data-of": source.name }, about(source), facts([
        ["Kernels in memory", value(find(source, "urza.library.cache_size"))],
        ["Hits of memory", hits + misses > 0 ? percent(hits / (hits + misses)) : "\u2014"],
        ["Requests answered at once", value(find(source, "urza.prefetch.hits"))], ["Forged on request", value(find(source, "urza.prefetch.forged"))],
        ["Errors", value(find(source, "urza.prefetch.errors"))], ["Answer, p50", value(find(source, "urza.prefetch.latency_p50_ms"))],
        ["Answer, p95", value(find(source, "urza.prefetch.latency_p95_ms"))],
        ["Circuit", openCircuit[find(source, "urza.library.breaker_state")?.value ?? 0] ?? "\u2014"],
      ]), h("details", {}, h("summary", {}, "All figures of the kernel library"), figures(source, "urza."))));
    }
    for (const source of forge.sources) {
      parts.push(h("section", { class: "panel", "data-of": source.name }, h("h2", {}, "Forge ", h("span", { class: "faint" }, `as ${plain(source.name, 48)} told \u00b7 ${ago(source.last_at)}`)), facts([
        ["Jobs", value(find(source, "tezzeret.jobs.total"))], ["Completed", value(find(source, "tezzeret.jobs.completed"))],
        ["Failed", value(find(source, "tezzeret.jobs.failed"))], ["Parked", value(find(source, "tezzeret.jobs.parked"))],
        ["Retried", value(find(source, "tezzeret.jobs.retried"))], ["Last compilation, ms", value(find(source, "tezzeret.compilation.last_compile_ms"))],
        ["Circuit", openCircuit[find(source, "tezzeret.breaker.state")?.value ?? 0] ?? "\u2014"],
      ]), h("details", {}, h("summary", {}, "All figures of the forge"), figures(source, "tezzeret."))));
    }
    return parts.length ? parts : [h("p", { class: "empty" }, "No service has told of kernels yet.")];
  });
}

const backlog = "oona.queue_backlog_", depth = "oona.queue_depth_", trimmed = "oona.trimmed_unread_total.";

// letterLine is one dead letter; what it holds is fetched when it is opened.
function letterLine(letter: Letter, opened: Map<string, LetterDetails>, act: ReturnType<typeof deskOf>["act"], draw: () => void): Node[] {
  const path = `/api/deadletters/${encodeURIComponent(letter.id)}`, shown = opened.get(letter.id);
  const toggle = h("button", {
    type: "button", class: "quiet", "aria-expanded": shown ? "true" : "false", click: () => {
      if (opened.delete(letter.id)) { draw(); return; }
      void get<LetterDetails>(path).then((details) => { opened.set(letter.id, details); draw(); }, () => undefined);
    },
  }, shown ? "Close" : "Open");
  const cells: Child[] = [h("code", {}, plain(letter.id, 40)), moment(letter.time), named(letter.stream, 40), named(letter.group, 40), words(letter.type).toLowerCase(),
    h("span", {}, words(letter.reason), letter.error && letter.error !== letter.reason ? h("span", { class: "under" }, h("bdi", {}, plain(letter.error, 200))) : null),
    h("span", { class: "acts" }, toggle, letter.replayed ? h("span", { class: "faint" }, "replayed") : act("Replay", "POST", path + "/replay"), act("Remove", "DELETE", path))];
  const row = h("tr", { "data-letter": letter.id, "data-of": letter.id }, ...cells.map((c, i) => h("td", { class: i !== 5 ? "whole" : undefined }, c)));
  if (!shown) return [row];
  const bytes = Uint8Array.from(atob(shown.payload), (c) => c.charCodeAt(0));
  return [row, h("tr", { "data-of": letter.id }, h("td", { colspan: cells.length },
    Object.keys(shown.attributes ?? {}).length > 0 && facts(Object.entries(shown.attributes!).slice(0, 24).map(([k, v]): [string, Child] => [plain(k, 64), named(v, 128)])),
    shown.unreadable ? h("p", { class: "bad" }, h("bdi", {}, plain(shown.unreadable, 300))) : h("pre", {}, h("bdi", {}, lines(JSON.stringify(shown.message, null, 2)))),
    h("details", {}, h("summary", {}, `${count(letter.bytes)} bytes`), h("pre", {}, hex(bytes.subarray(0, 2048)) + (letter.bytes > 2048 ? "\n\u2026" : "")))))];
}

function lines(text: string): string {
  return text.slice(0, 20_000).split("\n").map((line) => plain(line, 400)).join("\n");
}

function hex(bytes: Uint8Array): string {
  const rows: string[] = [];
  for (let i = 0; i < bytes.length; i += 16) {
    const row = [...bytes.subarray(i, i + 16)];
    rows.push(i.toString(16).padStart(4, "0") + "  " + row.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(48) + " " +
      row.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : ".")).join(""));
  }
  return rows.join("\n");
}

// deadLetters lists what was given up, the oldest first, page by page.
function deadLetters(): { element: HTMLElement; load(): Promise<void> } {
  const opened = new Map<string, LetterDetails>(), body = h("tbody", {}), told = h("p", { class: "empty" });
  let letters: Letter[] = [], after = "";
  const more = h("button", { type: "button", class: "quiet", hidden: true, click: () => { after = letters.at(-1)?.id ?? ""; void load(); } }, "Later letters");
  const first = h("button", { type: "button", class: "quiet", hidden: true, click: () => { after = ""; void load(); } }, "From the oldest");
  const { desk, act } = deskOf(() => void load());
  const rows = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Dead letters" }, h("table", {}, h("caption", { class: "unseen" }, "Dead letters"),
    h("thead", {}, h("tr", {}, ...["Letter", "Given up", "Stream", "Group", "Message", "Why", ""].map((c) => h("th", { scope: "col" }, c)))), body));
  let drawn = "";
  const draw = () => {
    const now = JSON.stringify([letters, [...opened.keys()]]);
    if (now !== drawn) keeping(body, () => replace(body, ...letters.flatMap((letter) => letterLine(letter, opened, act, draw))));
    drawn = now;
    rows.hidden = desk.hidden = letters.length === 0;
  };
  async function load(): Promise<void> {
    try {
      letters = (await get<{ letters: Letter[] }>("/api/deadletters", { limit: 50, after: after || undefined })).letters;
      told.textContent = letters.length === 0 ? "There is no dead letter." : "";
    } catch (error) {
      letters = [];
      told.textContent = error instanceof Refusal && error.status === 401 ? "Dead letters are shown to whoever has the token." : `Could not be loaded: ${plain((error as Error).message, 200)}.`;
      draw();
      desk.hidden = false;
      return;
    }
    more.hidden = letters.length < 50;
    first.hidden = after === "";
    draw();
  }
  return { load, element: h("section", { class: "panel" }, h("h2", {}, "Dead letters"), desk, told, rows, first, " ", more) };
}

export function bus(): Page {
  const letters = deadLetters(), feed = new Feed({}, undefined, "What was done");
  const page = polled("Bus", "The streams as each service sees them. What is not read yet waits; a dead letter was given up.", async () => {
    const told = (await sources("/api/sources")).sources.filter((source) => (source.figures ?? []).some((f) => f.name.startsWith("oona.")));
    const parts: Node[] = [];
    for (const source of told) {
      const streams = new Set<string>();
      for (const f of source.figures ?? []) {
        for (const prefix of [backlog, depth]) if (f.name.startsWith(prefix)) streams.add(f.name.slice(prefix.length));
      }
      streams.delete("max");
      const dead = find(source, depth + "dead_letter")?.value ?? 0;
      parts.push(h("section", { class: "panel", "data-of": source.name }, about(source), facts([
        ["Published", value(find(source, "oona.publish_total"))], ["Consumed", value(find(source, "oona.consume_total"))],
        ["Tried again", value(find(source, "oona.retry_total"))], ["Dropped", value(find(source, "oona.dropped_total"))],
        ["Dead letters now", h("span", { class: dead > 0 ? "bad" : undefined }, figure(dead))],
        ["Publishing", openCircuit[find(source, "oona.publish_breaker_state")?.value ?? 0] ?? "\u2014"],
        ["Reading", openCircuit[find(source, "oona.consume_breaker_state")?.value ?? 0] ?? "\u2014"],
        ["Conservative", find(source, "oona.conservative_mode")?.value ? h("span", { class: "bad" }, "yes") : "no"],
      ]), table("Streams", ["Stream", "#Entries", "#Not read yet", "#Trimmed unread"], [...streams].filter((stream) => stream !== "dead_letter").sort().map((stream) => [
        words(stream), value(find(source, depth + stream)), value(find(source, backlog + stream)), value(find(source, trimmed + stream))])),
        h("details", {}, h("summary", {}, "All figures of the bus"), figures(source, "oona.", [backlog, depth, trimmed]))));
    }
    await letters.load();
    feed.set(((await get<{ events: Event[] | null }>("/api/events", { kind: "event", limit: 300 })).events ?? []).filter(ofLetters));
    return parts.length ? parts : [h("p", { class: "empty" }, "No service has told of the bus yet.")];
  }, { event: (e) => { if (ofLetters(e)) { feed.add(e); void letters.load(); } } }, letters.element, feed.element);
  return page;
}

function ofLetters(e: Event): boolean {
  return e.name.startsWith("dead_letter_");
}

export function workers(): Page {
  return polled("Workers and boot", "Who sends telemetry, and what each service's workers do.", async () => {
    const [heard, store] = await Promise.all([sources("/api/sources"), get<Store>("/api/store")]);
    const parts: Node[] = [];
    for (const source of heard.sources) {
      const rows = workersOf(source);
      if (rows.length === 0) continue;
      const up = find(source, "weatherlight.uptime_s")?.value;
      parts.push(h("section", { class: "panel" }, about(source), facts([
        ["Up for", up === undefined || up === null ? "\u2014" : span(up)], ["Running", value(find(source, "weatherlight.tasks.running"))],
        ["Starting again", value(find(source, "weatherlight.tasks.backing_off"))], ["Restarts", value(find(source, "weatherlight.restarts_total"))],
        ["Leads", find(source, "weatherlight.leader")?.value ? "yes" : "no"], ["Instances", value(find(source, "weatherlight.instances"))],
        ...Object.entries(source.indicators ?? {}).slice(0, 12).map(([name, text]): [string, Child] => [words(name), plain(text, 120)]),
      ]), h("ul", { class: "workers", "aria-label": "Workers" }, ...rows)));
    }
    parts.push(h("section", { class: "panel" }, h("h2", {}, "Sources"), table("Sources", ["Source", "Health", "Says", "#Packets", "#Last heard"],
      heard.sources.map((source) => [named(source.name, 48), plain(source.health || "\u2014", 24), plain(source.summary || "", 120), count(source.packets), ago(source.last_at)]),
      "Nobody was heard yet."), heard.more && h("p", { class: "faint" }, "There are more sources than are shown: /api/sources has all.")));
    parts.push(h("section", { class: "panel" }, h("h2", {}, "Store of runs"), facts([
      ["Runs", count(store.runs)], ["Kept", size(store.bytes)], ["At most", size(store.max_bytes)], ["For", `${Math.round(store.retention_seconds / 86_400)} d`],
    ])));
    return parts;
  });
}

const worker = "weatherlight.worker.";

function workersOf(source: Source): HTMLElement[] {
  const names = new Set((source.figures ?? []).filter((f) => f.name.startsWith(worker) && f.name.endsWith(".running")).map((f) => f.name.slice(worker.length, -".running".length)));
  return [...names].sort().map((name) => {
    const running = find(source, `${worker}${name}.running`)?.value === 1, restarts = find(source, `${worker}${name}.restarts`);
    return h("li", {}, h("span", { class: running ? "good" : "bad", "aria-hidden": "true" }, running ? "\u25cf" : "\u2715"), h("span", {}, words(name),
      !running && h("span", { class: "bad" }, " not running"), (restarts?.value ?? 0) > 0 && h("span", { class: "bad" }, ` ${value(restarts)} restarts`)));
  });
}

interface Silence { id: string; rule?: string; source?: string; labels?: Record<string, string>; from: string; until: string; by: string; comment?: string }

// deskOf is where somebody says who asks for a change, with buttons that ask.
function deskOf(done: () => void): { desk: HTMLFormElement; act(text: string, method: string, path: string, body?: Record<string, unknown>): HTMLElement } {
  const said = h("p", { role: "status", class: "count" });
  const by = h("input", { type: "text", "aria-label": "Who asks", placeholder: "Your name", autocomplete: "username", input: () => { operator.by = by.value; } });
  const token = h("input", { type: "password", "aria-label": "Token", placeholder: "Token of NISSA_HTTP_TOKEN", autocomplete: "off", input: () => { operator.token = token.value; } });
  by.value = operator.by;
  token.value = operator.token;
  const desk = h("form", { class: "tools", submit: (e: Event) => (e as unknown as globalThis.Event).preventDefault() }, by, token, said);
  const act = (text: string, method: string, path: string, body: Record<string, unknown> = {}) => h("button", {
    type: "button", class: "quiet", click: () => {
      change(method, path, body).then(() => { said.textContent = "Done."; done(); }, (error: Error) => { said.textContent = plain(error.message, 200); });
    },
  }, text);
  return { desk, act };
}

// burning is how fast the budget burns where it burns fastest: at 1 it lasts for exactly as long as the objective says.
function burning(rates: Record<string, number> | undefined): string {
  const [window, rate] = Object.entries(rates ?? {}).sort((a, b) => b[1] - a[1])[0] ?? [];
  return rate === undefined ? "\u2014" : `${rate.toFixed(1)} over ${plain(window!, 16)}`;
}

// labels tell alerts of one rule and source apart.
function labels(of: Record<string, string> | undefined): HTMLElement | null {
  const texts = Object.entries(of ?? {}).map(([name, text]) => `${plain(name, 32)} ${plain(text, 48)}`);
  return texts.length ? h("span", { class: "under" }, h("bdi", {}, texts.join(", "))) : null;
}

function ofAlerts(e: Event): boolean {
  return e.kind === "event" && /^(alert|silence)_/.test(e.name);
}

export function alarms(): Page {
  const feed = new Feed({}, undefined, "What was raised, and what was asked");
  let page: Page;
  const { desk, act } = deskOf(() => void page.load());
  desk.hidden = true;
  page = polled("Alarms", "What services say is wrong now, and what the rules of this Nissa make of it.", async () => {
    const [told, alerts, silences, objectives, raised, asked] = await Promise.all([
      get<{ alarms: Alarm[] }>("/api/alarms"), optional<{ alerts: Alert[] }>("alerts", "/api/alerts"), optional<{ silences: Silence[] }>("alerts", "/api/silences"),
      optional<{ objectives: Objective[] }>("alerts", "/api/objectives"), get<{ events: Event[] | null }>("/api/events", { kind: "alarm", limit: 100 }), get<{ events: Event[] | null }>("/api/events", { kind: "event", limit: 300 }),
    ]);
    feed.set([...(raised.events ?? []), ...(asked.events ?? []).filter(ofAlerts)]);
    desk.hidden = !does("alerts");
    const parts: Node[] = [h("section", { class: "panel" }, h("h2", {}, "Alarms of services"), table("Alarms", ["", "Alarm", "About", "Severity", "Detail", "#Since", "#Last told"],
      told.alarms.map((a) => [a.raised ? h("span", { class: "bad" }, "\u25b2 raised") : h("span", { class: "faint" }, "over"), named(a.name), named(a.subject || "\u2014"),
        plain(a.severity || "\u2014", 24), plain(a.detail ?? "", 240), a.since ? ago(a.since) : "\u2014", ago(a.last_at)]), "No alarm was raised."))];
    if (does("alerts") && !alerts) parts.push(h("p", { class: "intro" }, "Alerts and objectives are shown to whoever has the token."));
    if (alerts) {
      parts.push(h("section", { class: "panel" }, h("h2", {}, "Alerts"), table("Alerts", ["", "Rule", "Source", "Says", "", ""], alerts.alerts.map((a) => [
        h("span", { class: a.state === "firing" ? "bad" : "faint" }, `${a.state === "firing" ? "\u25b2" : "\u25cb"} ${plain(a.state, 16)}`), named(a.rule), h("span", {}, named(a.source), labels(a.labels)),
        plain([a.summary, a.detail].filter(Boolean).join(": "), 240), a.silenced_by?.length ? "silenced" : a.ack ? `taken up by ${plain(a.ack.by, 40)}` : "",
        h("span", { "data-of": a.id }, a.state === "firing" && !a.ack && act("Take up", "POST", `/api/alerts/${encodeURIComponent(a.id)}/ack`, {}), " ",
          a.state === "firing" && !a.silenced_by?.length && act("Silence for 1 h", "POST", "/api/silences", { rule: a.rule, source: a.source, labels: a.labels, duration: "1h" }))]), "No alert fires.")));
    }
    if (silences?.silences.length) {
      parts.push(h("section", { class: "panel" }, h("h2", {}, "Silences"), table("Silences", ["Rule", "Source", "By", "Comment", "#Until", ""], silences.silences.map((x) => [
        named(x.rule || "all"), h("span", {}, named(x.source || "all"), labels(x.labels)), named(x.by), plain(x.comment ?? "", 200), new Date(x.until).toLocaleString("en-GB"),
        h("span", { "data-of": x.id }, act("End", "DELETE", `/api/silences/${encodeURIComponent(x.id)}`, {}))]))));
    }
    if (objectives) {
      parts.push(h("section", { class: "panel" }, h("h2", {}, "Objectives"), table("Objectives", ["Objective", "#Target", "#Attained", "#Budget left", "Burning", "#Burn rate", "Over"], objectives.objectives.map((o) => [
        h("span", { title: plain(o.summary, 240) }, named(o.name)), percent(o.target, 3), percent(o.attained, 3), h("span", { class: (o.budget_left ?? 1) <= 0 ? "bad" : undefined }, percent(o.budget_left)),
        (o.burning ?? []).map((b) => plain(b, 12)).join(", ") || "no", burning(o.burn_rates), plain(o.window, 24)]), "There is no objective.")));
    }
    return parts;
  }, { event: (e) => { if (e.kind === "alarm" || ofAlerts(e)) void page.load(); } }, desk, feed.element);
  return page;
}
