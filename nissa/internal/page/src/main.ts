import { alarms } from "./alarms";
import { fires, get, operator, optional, type Alarm, type Alert } from "./api";
import { h, plain, replace } from "./dom";
import { clock } from "./format";
import { runs } from "./list";
import { bus, kernels, workers } from "./operate";
import type { Page } from "./page";
import { runPage } from "./run";
import { seedPage } from "./seed";
import { Stream, type LinkState } from "./stream";

const main = document.getElementById("main")!, nav = document.getElementById("nav")!, link = document.getElementById("link")!;

const places: [string, string, () => Page][] = [
  ["", "Runs", runs], ["kernels", "Kernels", kernels], ["bus", "Bus", bus], ["workers", "Workers", workers], ["alarms", "Alarms", alarms],
];

function pageOf(hash: string): Page {
  const parts = hash.replace(/^#\/?/, "").split("/");
  try {
    const [first = "", run, seeds, seed] = parts.map(decodeURIComponent);
    if (first === "runs" && run && seeds === "seeds" && seed) return seedPage(run, seed);
    if (first === "runs" && run && seeds === undefined) return runPage(run);
    const place = places.find(([name]) => name === first);
    if (place && run === undefined) return place[2]();
  } catch {
    // an address that is none
  }
  return { title: "Not here", element: h("p", { class: "empty" }, "There is no such page. ", h("a", { href: "#/" }, "Runs")), load: () => Promise.resolve() };
}

let page: Page | undefined, stream: Stream | undefined, lostAt: number | undefined;

function told(state: LinkState): void {
  const texts: Record<LinkState, string> = { connecting: "connecting", live: "live", resting: "resting", lost: "", locked: "token needed" };
  if (state === "lost") lostAt ??= Date.now(); else lostAt = undefined;
  const text = state === "lost" ? `disconnected since ${clock(lostAt!)}, trying again` : texts[state];
  if (link.textContent !== text) link.textContent = text;
  link.dataset["state"] = state;
  document.body.classList.toggle("lost", state === "lost");
  if (state === "locked") unlock();
}

// unlock asks for the token of a Nissa that other machines reach.
function unlock(): void {
  const token = h("input", { type: "password", "aria-label": "Token", autocomplete: "current-password", required: true });
  const said = operator.token ? "That was not it. " : "";
  replace(main, h("form", {
    class: "tools", submit: (e: Event) => {
      e.preventDefault();
      operator.token = token.value;
      void show(true);
    },
  }, h("p", { class: "intro" }, said, "Other machines reach this Nissa, so it shows runs to whoever knows its NISSA_HTTP_TOKEN."),
  h("input", { type: "text", autocomplete: "username", value: "nissa", hidden: true }), token, h("button", { type: "submit" }, "Show")));
  token.focus();
}

async function show(first: boolean): Promise<void> {
  stream?.close();
  page?.close?.();
  const next = pageOf(location.hash);
  page = next;
  document.title = `${next.title} \u00b7 Nissa`;
  replace(main, next.element);
  window.scrollTo(0, 0);
  if (!first) main.focus({ preventScroll: true });
  mark();
  if (lostAt === undefined) told("connecting");
  const opened = new Stream({
    run: next.run, report: (r) => next.report?.(r), event: (e) => next.event?.(e), reset: () => void next.load(),
    back: () => void next.load(), // what could not be loaded meanwhile, and what is not told as it comes
  }, (state) => { if (page === next) told(state); });
  stream = opened;
  const ready = await opened.ready();
  if (page !== next) return;
  await next.load();
  document.body.dataset["loaded"] = location.hash;
  if (ready === "soon") return;
  // What came between that load and the stream is in the next.
  await opened.later();
  if (page === next) await next.load();
}

function mark(): void {
  const here = location.hash.replace(/^#\/?/, "").split("/")[0];
  for (const a of nav.querySelectorAll("a")) {
    const name = a.getAttribute("href")!.slice(2);
    if (name === here || (name === "" && here === "runs")) a.setAttribute("aria-current", "page"); else a.removeAttribute("aria-current");
  }
}

const raised = h("span", { class: "badge", hidden: true });

// countAlarms counts the alarms of services and the alerts that fire and ask for somebody, as far as this page may know of either.
async function countAlarms(): Promise<void> {
  if (document.hidden) return;
  const [told, made] = await Promise.all([
    get<{ alarms: Alarm[] }>("/api/alarms").catch(() => null), optional<{ alerts: Alert[] }>("alerts", "/api/alerts").catch(() => null),
  ]);
  if (!told && !made) return;
  const n = (told?.alarms ?? []).filter((a) => a.raised).length + (made?.alerts ?? []).filter((a) => fires(a) && a.severity !== "info").length;
  raised.hidden = n === 0;
  raised.textContent = plain(String(n), 6);
  raised.setAttribute("aria-label", `${n} raised or firing`);
}

replace(nav, ...places.map(([name, text]) => h("a", { href: `#/${name}` }, text, name === "alarms" && raised)));
document.getElementById("skip")!.addEventListener("click", (e) => { e.preventDefault(); main.focus(); });
window.addEventListener("hashchange", () => void show(false));
window.setInterval(() => void countAlarms(), 10_000);
void countAlarms();
void show(true);
