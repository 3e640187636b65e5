import { get, sources, type Event, type Figure, type Source, type Store } from "./api";
import { h, named, plain, type Child } from "./dom";
import { ago, bytes as size, count, figure, percent, span } from "./format";
import { deadLetters } from "./letters";
import type { Page } from "./page";
import { facts, Feed, table } from "./parts";
import { polled } from "./polled";
import { words } from "./words";

function value(f: Figure | undefined): string {
  if (!f) return "\u2014";
  return figure(f.value) + (f.unit && f.unit !== "count" && f.unit !== "bool" ? ` ${plain(f.unit, 12)}` : "");
}

function find(source: Source, name: string): Figure | undefined {
  return (source.figures ?? []).find((f) => f.name === name);
}

function yes(f: Figure | undefined): string {
  return f ? (f.value ? "yes" : "no") : "\u2014";
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
    // The forge tells for itself at its end alone, and each Weatherlight tells of the forge within it.
    for (const source of forge.sources.filter((s) => s.name !== "tezzeret" || forge.sources.length === 1)) {
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

// done are the events that say what somebody did with dead letters.
const done = ["dead_letter_replayed", "dead_letter_removed"];

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
      const dead = find(source, depth + "dead_letter"), careful = find(source, "oona.conservative_mode");
      parts.push(h("section", { class: "panel", "data-of": source.name }, about(source), facts([
        ["Published", value(find(source, "oona.publish_total"))], ["Consumed", value(find(source, "oona.consume_total"))],
        ["Tried again", value(find(source, "oona.retry_total"))], ["Dropped", value(find(source, "oona.dropped_total"))],
        ["Dead letters now", h("span", { class: (dead?.value ?? 0) > 0 ? "bad" : undefined }, value(dead))],
        ["Publishing", openCircuit[find(source, "oona.publish_breaker_state")?.value ?? 0] ?? "\u2014"],
        ["Reading", openCircuit[find(source, "oona.consume_breaker_state")?.value ?? 0] ?? "\u2014"],
        ["Conservative", h("span", { class: careful?.value ? "bad" : undefined }, yes(careful))],
      ]), table("Streams", ["Stream", "#Entries", "#Not read yet", "#Trimmed unread"], [...streams].filter((stream) => stream !== "dead_letter").sort().map((stream) => [
        words(stream), value(find(source, depth + stream)), value(find(source, backlog + stream)), value(find(source, trimmed + stream))])),
        h("details", {}, h("summary", {}, "All figures of the bus"), figures(source, "oona.", [backlog, depth, trimmed]))));
    }
    await letters.load();
    feed.set((await get<{ events: Event[] | null }>("/api/events", { kind: "event", names: done.join(), limit: 100 })).events ?? []);
    return parts.length ? parts : [h("p", { class: "empty" }, "No service has told of the bus yet.")];
  }, { event: (e) => { if (done.includes(e.name)) { feed.add(e); void letters.load(); } } }, letters.element, feed.element);
  return page;
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
        ["Leads", yes(find(source, "weatherlight.leader"))], ["Instances", value(find(source, "weatherlight.instances"))],
        ...Object.entries(source.indicators ?? {}).slice(0, 12).map(([name, text]): [string, Child] => [words(name), plain(text, 120)]),
      ]), h("ul", { class: "workers", "aria-label": "Workers" }, ...rows)));
    }
    parts.push(h("section", { class: "panel" }, h("h2", {}, "Sources"), table("Sources", ["Source", ".Health", "~Says", "#Packets", "#Last heard"],
      heard.sources.map((source) => [named(source.name, 48), plain(source.health || "\u2014", 24), plain(source.summary || "", 120), count(source.packets), ago(source.last_at)]),
      "Nobody was heard yet.", true), heard.more && h("p", { class: "faint" }, "There are more sources than are shown: /api/sources has all.")));
    parts.push(h("section", { class: "panel" }, h("h2", {}, "Store of runs"), facts([
      ["Runs", count(store.runs)], ["Kept", size(store.bytes)], ["At most", size(store.max_bytes)], ["For", `${Math.round(store.retention_seconds / 86_400)} d`],
    ])));
    return parts;
  });
}

const worker = "weatherlight.worker.";

// workersOf tells of each worker. One that does not run has failed when it waits to begin again; else it is done, unless
// its service is not well.
function workersOf(source: Source): HTMLElement[] {
  const names = new Set((source.figures ?? []).filter((f) => f.name.startsWith(worker) && f.name.endsWith(".running")).map((f) => f.name.slice(worker.length, -".running".length)));
  return [...names].sort().map((name) => {
    const running = find(source, `${worker}${name}.running`)?.value === 1, restarts = find(source, `${worker}${name}.restarts`);
    const backoff = find(source, `${worker}${name}.backoff_seconds`), well = !backoff && source.health === "healthy";
    const [tone, sign] = running ? ["good", "\u25cf"] : well ? ["faint", "\u2713"] : ["bad", "\u2715"];
    return h("li", {}, h("span", { class: tone, "aria-hidden": "true" }, sign), h("span", {}, words(name),
      !running && h("span", { class: tone }, well ? " done" : " not running"), (restarts?.value ?? 0) > 0 && h("span", { class: "bad" }, ` ${value(restarts)} restarts`)));
  });
}

