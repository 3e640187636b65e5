import { does, fires, get, optional, type Alarm, type Alert, type Event, type Objective } from "./api";
import { deskOf } from "./desk";
import { h, named, plain } from "./dom";
import { ago, duration, moment, percent } from "./format";
import type { Page } from "./page";
import { Feed, table } from "./parts";
import { polled } from "./polled";
import { ends } from "./words";

interface Silence { id: string; rule?: string; source?: string; labels?: Record<string, string>; from: string; until: string; by: string; comment?: string }

// burning is how fast the budget burns where it burns fastest: at 1 it lasts for exactly as long as the objective says.
function burning(rates: Record<string, number> | undefined): string {
  const [window, rate] = Object.entries(rates ?? {}).sort((a, b) => b[1] - a[1])[0] ?? [];
  return rate === undefined ? "\u2014" : `${rate.toFixed(1)} over ${duration(window!)}`;
}

// labels tell alerts of one rule and source apart.
function labels(of: Record<string, string> | undefined): HTMLElement | null {
  const texts = Object.entries(of ?? {}).map(([name, text]) => `${plain(name, 32)} ${plain(text, 48)}`);
  return texts.length ? h("span", { class: "under" }, h("bdi", {}, texts.join(", "))) : null;
}

// asked are the events of alerts: what fires, what has ended, and what somebody asked for.
const asked = ["alert_fires", "alert_resolved", "alert_acknowledged", "silence_begun", "silence_ended"];

function ofAlerts(e: Event): boolean {
  return e.kind === "event" && asked.includes(e.name);
}

const severities = ["critical", "warning", "info"], states = ["firing", "pending", "resolved"];

function severity(of: string | undefined): HTMLElement {
  return h("span", { class: `severity-${severities.includes(of ?? "") ? of : "info"}` }, plain(of || "\u2014", 24));
}

// gravest orders alerts: those that fire first, of them the gravest, of them the newest.
function gravest(a: Alert, b: Alert): number {
  const place = (list: string[], of: string | undefined) => (list.indexOf(of ?? "") + list.length + 1) % (list.length + 1);
  return place(states, a.state) - place(states, b.state) || place(severities, a.severity) - place(severities, b.severity) ||
    Date.parse(b.since ?? "") - Date.parse(a.since ?? "") || (a.id < b.id ? -1 : 1);
}

function alertTable(alerts: Alert[], act: ReturnType<typeof deskOf>["act"]): HTMLElement {
  return table("Alerts", [".", ".Severity", ".Rule", "Source", "~Says", "#Since", "."], [...alerts].sort(gravest).map((a) => {
    const firing = a.state === "firing", over = a.state === "resolved";
    const held = a.silenced_by?.length ? "silenced" : a.ack ? `taken up by ${plain(a.ack.by, 40)}` : "";
    return [
      h("span", { class: firing ? "bad" : "faint" }, `${firing ? "\u25b2" : "\u25cb"} ${plain(a.state, 16)}`), severity(a.severity),
      named(a.rule), h("span", {}, named(a.source), labels(a.labels)),
      plain([a.summary, over ? ends[a.reason ?? ""] : a.detail].filter(Boolean).join(": "), 240),
      over ? `ended ${ago(a.ended)}` : ago(a.since),
      h("span", { class: "acts", "data-of": a.id }, held && h("span", { class: "faint" }, held),
        firing && !a.ack && act("Take up", "POST", `/api/alerts/${encodeURIComponent(a.id)}/ack`, {}),
        fires(a) && act("Silence for 1 h", "POST", "/api/silences", { rule: a.rule, source: a.source, labels: a.labels, duration: "1h" })),
    ];
  }), "No alert fires.", true);
}

export function alarms(): Page {
  const feed = new Feed({}, undefined, "What was raised, and what was asked");
  let page: Page;
  const { desk, act } = deskOf(() => void page.load());
  desk.hidden = !does("alerts");
  page = polled("Alarms", "What services say is wrong now, and what the rules of this Nissa make of it.", async () => {
    const [told, alerts, silences, objectives, raised, wanted] = await Promise.all([
      get<{ alarms: Alarm[] }>("/api/alarms"), optional<{ alerts: Alert[] }>("alerts", "/api/alerts"), optional<{ silences: Silence[] }>("alerts", "/api/silences"),
      optional<{ objectives: Objective[] }>("alerts", "/api/objectives"), get<{ events: Event[] | null }>("/api/events", { kind: "alarm", limit: 100 }), get<{ events: Event[] | null }>("/api/events", { kind: "event", names: asked.join(), limit: 150 }),
    ]);
    feed.set([...(raised.events ?? []), ...(wanted.events ?? [])]);
    desk.hidden = !does("alerts"); // as the page says by now
    const parts: Node[] = [h("section", { class: "panel" }, h("h2", {}, "Alarms of services"), table("Alarms", [".", ".Severity", ".Alarm", "About", "~Detail", "#Since", "#Last told"],
      told.alarms.map((a) => [a.raised ? h("span", { class: "bad" }, "\u25b2 raised") : h("span", { class: "faint" }, "over"), severity(a.severity), named(a.name), named(a.subject || "\u2014"),
        plain(a.detail ?? "", 240), a.since ? ago(a.since) : "\u2014", ago(a.last_at)]), "No alarm was raised.", true))];
    if (does("alerts") && !alerts) parts.push(h("p", { class: "intro" }, "Alerts and objectives are shown to whoever has the token."));
    if (alerts) {
      parts.push(h("section", { class: "panel" }, h("h2", {}, "Alerts"), alertTable(alerts.alerts, act)));
    }
    if (silences?.silences.length) {
      parts.push(h("section", { class: "panel" }, h("h2", {}, "Silences"), table("Silences", [".Rule", "Source", "By", "~Comment", "#Until", "."], silences.silences.map((x) => [
        named(x.rule || "all"), h("span", {}, named(x.source || "all"), labels(x.labels)), named(x.by), plain(x.comment ?? "", 200), moment(x.until),
        h("span", { class: "acts", "data-of": x.id }, act("End", "DELETE", `/api/silences/${encodeURIComponent(x.id)}`, {}))]), "none", true)));
    }
    if (objectives) {
      parts.push(h("section", { class: "panel" }, h("h2", {}, "Objectives"), table("Objectives", [".Objective", "#Target", "#Attained", "#Budget left", "Burning", "#Burn rate", "Over"], objectives.objectives.map((o) => [
        h("span", { title: plain(o.summary, 240) }, named(o.name)), percent(o.target, 3), percent(o.attained, 3), h("span", { class: (o.budget_left ?? 1) <= 0 ? "bad" : undefined }, percent(o.budget_left)),
        (o.burning ?? []).map((b) => plain(b, 12)).join(", ") || "no", burning(o.burn_rates), duration(o.window)]), "There is no objective.", true)));
    }
    return parts;
  }, { event: (e) => { if (e.kind === "alarm" || ofAlerts(e)) void page.load(); }, above: desk }, feed.element);
  return page;
}
