import { get, runPath, type Event, type Point, type Report, type Seed } from "./api";
import { Axis, frameOf } from "./axis";
import { Curve } from "./curve";
import { h, limited, named, plain, replace } from "./dom";
import { figure, moment, percent, span } from "./format";
import { Lanes } from "./lanes";
import { link, type Page } from "./page";
import { facts, failure, Feed, table } from "./parts";
import { blueprintKind, blueprintName, blueprintOf, evidence, fateOf, fateSign, gateName, shortSeed, stages, verdict, words } from "./words";

interface Answer { seed: Seed; points: Point[] | null; events: Event[] | null }

const figuresOf: Record<string, [string, (v: number | null) => string]> = {
  loss_before: ["Loss without the seed", figure], loss_after: ["Loss with the seed", figure], loss_error: ["Noise of that", figure],
  accuracy_before: ["Accuracy without the seed", percent], accuracy_after: ["Accuracy with the seed", percent], accuracy_error: ["Noise of that", percent],
  host_gradient_max: ["Largest gradient that reached the host", figure], gradient_norm: ["Norm of the seed's gradient", figure],
  gradient_cosine: ["Cosine with the host's gradient", figure], forward_ms: ["Forward pass, ms", figure], forward_spread: ["Spread of that", figure],
  train_loss: ["Loss in training", figure], held_out: ["Examples that it was measured on", figure], alpha_steps: ["Steps of the blend so far", figure],
  alpha_total_steps: ["Steps of the blend", figure], shared_parameters: ["Parameters shared with the host", figure], forward_faults: ["Failed forward passes", figure],
  residence_epochs: ["Epochs in this stage", figure],
};

// Of these the page has no use, or shows them elsewhere.
const unshown = new Set(["order", "alpha", "paused", "blend_allowed", "earned", "attach_failed", "attach_reason"]);

export function seedPage(run: string, id: string): Page {
  let reports: Report[] = [];
  const head = h("div", {}), trouble = h("div", {}), drawing = h("div", { class: "drawing" }), body = h("div", { class: "columns" });
  const said = h("p", { id: "said", class: "unseen", role: "status" });
  const tip = h("p", { class: "tip-line", "aria-hidden": "true" });
  const curve = new Curve((text) => { said.textContent = text; }, { whole: "with the seed", host: "without it" });
  const lanes = new Lanes(run, () => undefined, (text) => {
    tip.textContent = text || "\u00a0";
    if (text && document.activeElement?.closest(".lanes")) said.textContent = text;
  }, () => undefined);
  tip.textContent = "\u00a0";
  drawing.append(curve.svg, lanes.svg, tip);
  const feed = new Feed({ run, seed: id });
  let last: Answer | undefined;

  // withSeed has the loss of the model with and without the seed, as its own figures tell.
  function withSeed(points: Point[]): Report[] {
    return points.map((p, i) => ({
      seq: i, run, at: p.at, epoch: p.epoch, step: p.step, loss: p.metrics?.["loss_after"] ?? null, accuracy: p.metrics?.["accuracy_after"] ?? null,
      train_loss: null, host_loss: p.metrics?.["loss_before"] ?? null, host_accuracy: p.metrics?.["accuracy_before"] ?? null, baseline_loss: null, baseline_accuracy: null,
    }));
  }

  function draw(): void {
    if (!last || drawing.clientWidth === 0) return;
    const { seed } = last, points = last.points ?? [];
    const frame = frameOf(drawing.clientWidth);
    const own = withSeed(points);
    const axis = new Axis("epoch", own.length > 1 ? own : reports);
    curve.draw(own, axis, frame, "loss", false, 180);
    const marks = (last.events ?? []).filter((e) => e.kind === "gate" || e.kind === "command").sort((a, b) => Date.parse(a.at) - Date.parse(b.at) || a.seq - b.seq);
    lanes.draw([{ seed, points, marks }], axis, frame);
  }

  function fill(answer: Answer): void {
    last = answer;
    const { seed } = answer, events = answer.events ?? [], points = answer.points ?? [];
    const fate = fateOf(seed.stage), told = blueprintOf(seed, events);
    replace(head,
      h("div", { class: "bar" }, h("h1", {}, named(blueprintName(seed.blueprint ?? "seed", told), 100), " ", h("span", { class: "faint" }, h("bdi", {}, shortSeed(seed, run)))),
        h("span", { class: `fate fate-${fate}` }, `${fateSign[fate]} ${fate}`)),
      h("p", { class: "verdict" }, h("bdi", {}, verdict(seed, events))),
      facts([
        ["Stage", words(seed.stage).toLowerCase() + (seed.paused ? ", paused" : "")], ["Since", moment(seed.stage_at)], ["Share in the output", figure(seed.alpha)],
        ["Slot", seed.slot ? named(seed.slot) : "\u2014"], ["Blueprint", seed.blueprint ? named(blueprintName(seed.blueprint, told), 100) : "\u2014"], ["Kind", blueprintKind(told) || "\u2014"],
        ["Outcome", seed.outcome ? words(seed.outcome).toLowerCase() : "\u2014"], ["Reason", seed.reason ? words(seed.reason) : "\u2014"],
        ["Name", named(seed.id, 128)],
        ["Kernel, SHA-256", seed.kernel ? h("code", {}, plain(seed.kernel, 128)) : "\u2014"],
      ]));
    const gates = events.filter((e) => e.kind === "gate").sort((a, b) => a.seq - b.seq);
    const measured = points.at(-1)?.metrics ?? {};
    const newest = points.filter((p) => p.metrics?.["loss_after"] !== undefined).at(-1)?.metrics ?? measured;
    replace(body,
      h("section", { class: "panel" }, h("h2", {}, "Gates"), table("Gates", [".Gate", ".", "At", "~Measured"], gates.map((e) => [
        gateName(e.name), e.details?.["passed"] === "true" ? h("span", { class: "good" }, "\u25c6 opened") : h("span", { class: "bad" }, "\u2715 shut"),
        moment(e.at), [words(e.details?.["reason"]), evidence(e.details)].filter(Boolean).join(": ")]), "No gate was looked at yet.", true)),
      h("section", { class: "panel" }, h("h2", {}, "Stages"), table("Stages", [".Stage", "~", "From", "#For"], (seed.stages ?? []).map((i) => [
        words(i.stage).toLowerCase(), Object.hasOwn(stages, i.stage) ? stages[i.stage] : "", moment(i.from),
        i.to === null ? "now" : span((Date.parse(i.to) - Date.parse(i.from)) / 1000)]), "No stage was told yet.")),
      h("section", { class: "panel" }, h("h2", {}, "Evidence"), table("Evidence", ["Figure", "#Last"], Object.entries({ ...measured, ...newest })
        .filter(([name]) => !unshown.has(name)).sort(([a], [b]) => place(a) - place(b) || (a < b ? -1 : 1))
        .map(([name, value]) => Object.hasOwn(figuresOf, name) ? [figuresOf[name]![0], figuresOf[name]![1](value)] : [words(name), figure(value)]),
        "Nothing was measured yet.")));
    feed.set(events);
    draw();
  }

  function place(name: string): number {
    const at = Object.keys(figuresOf).indexOf(name);
    return at < 0 ? 99 : at;
  }

  async function load(): Promise<void> {
    try {
      const [answer, curveAnswer] = await Promise.all([
        get<Answer>(runPath(run, "seeds", id), { points: 600 }), get<{ reports: Report[] | null }>(runPath(run, "reports"), { points: 400 }),
      ]);
      reports = curveAnswer.reports ?? [];
      fill(answer);
      replace(trouble);
    } catch (error) {
      replace(trouble, failure(error));
    }
  }

  const refresh = limited(700, () => void get<Answer>(runPath(run, "seeds", id), { points: 600 }).then(fill).catch(() => undefined));
  const sized = new ResizeObserver(() => draw());
  sized.observe(drawing);
  return {
    title: `${shortSeed({ id }, run)}`, run, load,
    element: h("div", {}, h("p", { class: "crumbs" }, h("a", { href: link.runs }, "Runs"), " / ", h("a", { href: link.run(run) }, named(run, 48))),
      head, trouble, drawing, said, body, feed.element),
    report: () => { if (last && fateOf(last.seed.stage) === "alive") refresh(); },
    event: (e) => { if (e.seed === id) refresh(); },
    close: () => { sized.disconnect(); lanes.close(); refresh.cancel(); },
  };
}
