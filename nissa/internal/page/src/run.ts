import { blob, get, goesOn, operator, runPath, trains, type Event, type Point, type Report, type Run, type Seed } from "./api";
import { Axis, frameOf, type Along } from "./axis";
import { Curve, type Measure, type Moment } from "./curve";
import { h, limited, named, plain, replace } from "./dom";
import { ago, count, figure, percent } from "./format";
import { Lanes, legend, type LaneSeed } from "./lanes";
import { link, type Page } from "./page";
import { facts, failure, Feed, segmented, state } from "./parts";
import { fileName, offer, savePNG, saveSVG } from "./picture";
import { fateOf, fates, sentence, shortSeed, type Fate } from "./words";

const points = 800, lanePoints = 160, eventsAtOnce = 1000, mostMoments = 16;

// remembered are the choices of whoever looks, for as long as the tab lives.
const remembered: { along: Along; measure: Measure; ratios: boolean } = { along: "epoch", measure: "loss", ratios: false };

export function runPage(id: string): Page {
  let run: Run | undefined;
  let reports: Report[] = [];
  let seeds: Seed[] = [];
  const lanePointsOf = new Map<string, Point[]>();
  const marksOf = new Map<string, Event[]>();
  const turns = new Map<number, Moment>(); // emergencies, and ways back
  let only: "all" | Fate = "all";

  const head = h("div", {}), trouble = h("div", {});
  const said = h("p", { id: "said", class: "unseen", role: "status" });
  const tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const curve = new Curve((text) => { said.textContent = text; });
  const lanes = new Lanes(id, (seed) => { location.hash = link.seed(id, seed); }, showTip, want);
  const seedCount = h("p", { class: "count", role: "status" });
  const feed = new Feed({ run: id }, (before) =>
    get<{ events: Event[] }>(runPath(id, "events"), { before, limit: 200 }).then((answer) => answer.events));
  const drawing = h("div", { class: "drawing" });
  const above = h("div", { class: "above" }, curve.svg);
  drawing.append(above, lanes.svg);

  function showTip(text: string, at: DOMRect | null): void {
    tip.hidden = text === "";
    if (text === "" || at === null) return;
    tip.textContent = text;
    if (document.activeElement?.closest(".lanes")) said.textContent = text;
    const width = Math.min(360, document.documentElement.clientWidth - 16);
    tip.style.maxWidth = `${width}px`;
    tip.style.left = `${Math.max(8, Math.min(at.left + 10, document.documentElement.clientWidth - width - 8))}px`;
    tip.style.top = `${at.bottom + 8}px`;
  }

  function now(): number | undefined {
    return run && trains(run) ? Date.now() : undefined;
  }

  function draw(): void {
    const width = drawing.clientWidth;
    if (width === 0) return;
    const frame = frameOf(width);
    const axis = new Axis(remembered.along, reports, now());
    curve.draw(reports, axis, frame, remembered.measure, remembered.ratios, frame.narrow ? 220 : 280, moments());
    const shown = seeds.filter((seed) => only === "all" || fateOf(seed.stage) === only);
    lanes.draw(shown.map((seed): LaneSeed => ({ seed, points: lanePointsOf.get(seed.id), marks: marksOf.get(seed.id) ?? [] })), axis, frame);
    const text = seeds.length === 0 ? "No seed yet." : shown.length === seeds.length ? `${seeds.length} ${seeds.length === 1 ? "seed" : "seeds"}` : `${shown.length} of ${seeds.length} seeds`;
    if (seedCount.textContent !== text) seedCount.textContent = text;
    drawHead();
  }

  function moments(): Moment[] {
    const found = [...turns.values()];
    for (const seed of seeds) {
      for (const interval of seed.stages ?? []) {
        const kind = interval.stage === "FOSSILIZED" ? "kept" : interval.stage === "CULLED" ? "culled" : null;
        if (!kind) continue;
        found.push({ at: Date.parse(interval.from), kind, text: `${plain(seed.blueprint ?? "seed", 40)} ${shortSeed(seed, id)} ${kind === "kept" ? "kept" : "taken out"}` });
      }
    }
    // What was taken out is marked while it leaves the curve to be seen.
    return (found.length > mostMoments ? found.filter((m) => m.kind !== "culled") : found).slice(0, 200);
  }

  function drawHead(): void {
    if (!run) return;
    const f = fates(run);
    replace(head,
      h("div", { class: "bar" }, h("h1", {}, named(run.id, 96)), state(run.state)),
      ...(run.emergency ? [h("p", { class: "verdict" }, plain(`Its seeds are out of the output (${run.emergency})${run.emergency_reason ? `: ${run.emergency_reason}` : ""}`, 600))] : []),
      facts([
        ["Experiment", run.experiment ? named(run.experiment) : "\u2014"], ["Epoch", count(run.epoch)], ["Loss", figure(run.loss)], ["Best loss", figure(run.best_loss)],
        ["Accuracy", percent(run.accuracy)], ["Seeds", `${f.alive} alive, ${f.kept} kept, ${f.culled} culled`],
        ["Reports", count(run.reports)], ["Last report", ago(run.reported_at)],
        ["Slots", run.slots ? plain(Object.entries(run.slots).map(([slot, shape]) => `${slot} ${shape.join("\u00d7")}`).join(", "), 80) : "\u2014"],
      ]));
  }

  const drawSoon = limited(120, () => requestAnimationFrame(draw));

  // Lanes that are looked at are loaded two at a time, those that live again as they grow.
  const wanted: string[] = [];
  const stale = new Set<string>();
  const visible = new Set<string>();
  let loading = 0, closed = false;

  function want(seed: string): void {
    visible.add(seed);
    if (!lanePointsOf.has(seed) || stale.has(seed)) ask(seed);
  }

  function ask(seed: string): void {
    if (!wanted.includes(seed)) wanted.push(seed);
    pump();
  }

  function pump(): void {
    while (loading < 2 && wanted.length > 0 && !closed) {
      const seed = wanted.shift()!;
      loading++;
      stale.delete(seed);
      get<{ points: Point[] | null }>(runPath(id, "seeds", seed), { points: lanePoints })
        .then((answer) => {
          lanePointsOf.set(seed, answer.points ?? []);
          lanes.points(seed, answer.points ?? []);
        })
        .catch(() => undefined)
        .finally(() => { loading--; pump(); });
    }
  }

  const refreshLiving = limited(600, () => {
    for (const seed of seeds) {
      if (!stale.has(seed.id) || !visible.has(seed.id)) continue;
      ask(seed.id);
    }
  });

  const refreshSeeds = limited(300, () => {
    void Promise.all([get<Run>(runPath(id)), get<{ seeds: Seed[] }>(runPath(id, "seeds"))]).then(([r, answer]) => {
      run = r;
      setSeeds(answer.seeds);
      drawSoon();
    }).catch(() => undefined);
  });

  function setSeeds(list: Seed[]): void {
    seeds = list.sort((a, b) => Date.parse(a.first_at) - Date.parse(b.first_at) || (a.id < b.id ? -1 : 1));
    for (const seed of seeds) if (fateOf(seed.stage) === "alive") stale.add(seed.id);
  }

  function mark(e: Event): void {
    if (e.kind === "emergency" || (e.kind === "command" && e.name === "ROLLBACK")) turns.set(e.seq, { at: Date.parse(e.at), kind: "alarm", text: sentence(e) });
    if (!e.seed || (e.kind !== "gate" && e.kind !== "command")) return;
    const list = marksOf.get(e.seed) ?? [];
    if (list.some((known) => known.seq === e.seq)) return;
    list.push(e);
    list.sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || a.seq - b.seq);
    marksOf.set(e.seed, list);
  }

  // marks are read page by page, up to a bound that a reader would not see the end of.
  async function loadMarks(kind: string): Promise<void> {
    let before: number | undefined;
    for (let page = 0; page < 4 && !closed; page++) {
      const { events } = await get<{ events: Event[] }>(runPath(id, "events"), { kind, limit: eventsAtOnce, before });
      events.forEach(mark);
      if (events.length < eventsAtOnce) return;
      before = Math.min(...events.map((e) => e.seq));
    }
  }

  async function load(): Promise<void> {
    try {
      const [r, curveAnswer, seedAnswer, events] = await Promise.all([
        get<Run>(runPath(id)), get<{ reports: Report[] | null }>(runPath(id, "reports"), { points }),
        get<{ seeds: Seed[] }>(runPath(id, "seeds")), get<{ events: Event[] | null }>(runPath(id, "events"), { limit: 400 }),
      ]);
      run = r;
      const newest = reports.filter((known) => known.seq > (curveAnswer.reports?.at(-1)?.seq ?? 0));
      reports = [...(curveAnswer.reports ?? []), ...newest];
      setSeeds(seedAnswer.seeds);
      feed.set(events.events ?? []);
      (events.events ?? []).forEach(mark);
      replace(trouble);
      draw();
      void Promise.all([loadMarks("command"), loadMarks("gate")]).then(drawSoon, () => undefined);
    } catch (error) {
      replace(trouble, failure(error));
    }
  }

  function report(r: Report): void {
    const last = reports.at(-1);
    if (last && r.seq <= last.seq) return;
    reports.push(r);
    if (reports.length > 4 * points) {
      const half = reports.length - points;
      reports = [...reports.slice(0, half).filter((_, i) => i % 2 === 0), ...reports.slice(half)];
    }
    if (run) {
      Object.assign(run, { epoch: r.epoch, step: r.step, reported_at: r.at, reports: run.reports + 1 });
      goesOn(run);
      if (r.loss !== null) {
        Object.assign(run, { loss: r.loss, accuracy: r.accuracy, best_loss: run.best_loss === null ? r.loss : Math.min(run.best_loss, r.loss) });
      }
    }
    for (const seed of seeds) if (fateOf(seed.stage) === "alive") stale.add(seed.id);
    refreshLiving();
    drawSoon();
  }

  function event(e: Event): void {
    feed.add(e);
    mark(e);
    if (e.seed) stale.add(e.seed);
    if (["stage", "emergency", "field_report"].includes(e.kind) || e.name.startsWith("emergency_")) refreshSeeds();
    drawSoon();
  }

  const title = () => `${plain(id, 80)} \u2014 ${remembered.measure} by ${remembered.along}`;
  const drawings = () => {
    lanes.complete();
    return [curve.svg, lanes.svg];
  };
  const logarithm = h("label", { class: "check" },
    h("input", { type: "checkbox", checked: remembered.ratios, change: (e: InputEvent) => { remembered.ratios = (e.target as HTMLInputElement).checked; draw(); } }), "log");
  const tools = h("div", { class: "tools" },
    segmented("Measure", [["loss", "loss"], ["accuracy", "accuracy"]], remembered.measure, (m) => { remembered.measure = m; draw(); }),
    segmented("Along", [["epoch", "epochs"], ["time", "time"]], remembered.along, (a) => { remembered.along = a; draw(); }),
    logarithm,
    h("span", { class: "save" }, "Save as ",
      h("button", { type: "button", class: "quiet", click: () => saveSVG(title(), drawings(), fileName(id)) }, "SVG"), " ",
      h("button", { type: "button", class: "quiet", click: () => void savePNG(title(), drawings(), fileName(id)) }, "PNG"), " ",
      h("a", {
        href: runPath(id, "export"), download: fileName(id) + ".jsonl", click: (e: globalThis.Event) => {
          if (!operator.token) return;
          e.preventDefault();
          void blob(runPath(id, "export")).then((all) => offer(all, fileName(id) + ".jsonl"));
        },
      }, "JSON lines")));
  const element = h("div", {},
    h("p", { class: "crumbs" }, h("a", { href: link.runs }, "Runs")),
    head, trouble, tools,
    drawing,
    h("div", { class: "bar lower" }, seedCount,
      segmented("Seeds", [["all", "all"], ["alive", "alive"], ["kept", "kept"], ["culled", "culled"]], "all", (which) => { only = which; draw(); })),
    legend(), said, tip, feed.element);
  const sized = new ResizeObserver(() => drawSoon());
  sized.observe(drawing);
  const ticking = window.setInterval(() => { if (run && trains(run)) drawSoon(); else drawHead(); }, 2000);
  const reloading = window.setInterval(refreshSeeds, 20_000);
  return {
    title: plain(id, 60), element, run: id, load, report, event,
    close: () => {
      closed = true;
      sized.disconnect();
      lanes.close();
      window.clearInterval(ticking);
      window.clearInterval(reloading);
      [drawSoon, refreshLiving, refreshSeeds].forEach((f) => f.cancel());
    },
  };
}
