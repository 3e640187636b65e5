import type { Event, Interval, Point, Seed } from "./api";
import { Axis, Scale, type Frame } from "./axis";
import { round } from "./curve";
import { plain, replace, s } from "./dom";
import { figure, moment } from "./format";
import { fateOf, fateSign, sentence, shortSeed, stageClass, stages, words } from "./words";

export interface LaneSeed { seed: Seed; points: Point[] | undefined; marks: Event[] }

interface Lane {
  group: SVGGElement; body: SVGGElement; of: LaneSeed; active: number;
  near: boolean; // to what is looked at: others are painted when they come near
  painted: unknown[]; // what it was painted of
}

const bandHeight = 20, rowHeight = 32, rowHeightNarrow = 44;

// Of these stages a seed has a share in the output.
const sharing = new Set(["BLENDING", "SHADOWING", "PROBATIONARY", "FOSSILIZED"]);

// patterns tell the stages apart without their colours.
export function patterns(): SVGElement {
  const make = (stage: string, size: number, ...parts: SVGElement[]) =>
    s("pattern", { id: `p-${stage}`, class: `st-${stage}`, width: size, height: size, patternUnits: "userSpaceOnUse" }, ...parts);
  const line = (d: string) => s("path", { d, stroke: "currentColor", "stroke-width": 1, fill: "none" });
  const dot = (x: number, y: number) => s("circle", { cx: x, cy: y, r: 1, fill: "currentColor" });
  return s("defs", {},
    make("germinated", 6, dot(3, 3)),
    make("training", 6, line("M-1 7L7 -1M-1 1L1 -1M5 7L7 5")),
    make("blending", 6, line("M0 3H6")),
    make("shadowing", 6, line("M-1 -1L7 7M-1 5L1 7M5 -1L7 1")),
    make("probationary", 6, line("M3 0V6")),
    make("culled", 6, line("M0 0L6 6M6 0L0 6")),
    make("embargoed", 8, dot(4, 4)));
}

// Lanes draws the seeds of a run, one under the other, on the axis of its curve. Up and down
// go from seed to seed, left and right from mark to mark, Enter opens the seed.
export class Lanes {
  readonly svg = s("svg", { class: "lanes", role: "group", "aria-label": "Seeds. Up and down choose one, left and right its marks, Enter opens it." });
  private readonly lanes = new Map<string, Lane>();
  private readonly room = s("g", {});
  private order: string[] = [];
  private focused = 0;
  private frame: Frame | undefined;
  private axis: Axis | undefined;
  private x: Scale | undefined;

  constructor(
    private readonly run: string,
    private readonly open: (seed: string) => void,
    private readonly tip: (text: string, at: DOMRect | null) => void,
    private readonly seen: (seed: string) => void,
  ) {
    this.svg.append(patterns(), this.room);
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const lane = this.lanes.get((entry.target as SVGElement).dataset["seed"] ?? "");
        if (!lane) continue;
        lane.near = entry.isIntersecting;
        if (!lane.near) continue;
        this.seen(lane.of.seed.id);
        this.paint(lane);
      }
    }, { rootMargin: "300px" });
  }
  private readonly watcher: IntersectionObserver;

  close(): void {
    this.watcher.disconnect();
  }

  // complete paints the lanes as well that nobody looks at.
  complete(): void {
    for (const lane of this.lanes.values()) this.paint(lane);
  }

  // points takes what was loaded of one seed.
  points(seed: string, points: Point[]): void {
    const lane = this.lanes.get(seed);
    if (!lane) return;
    lane.of = { ...lane.of, points };
    if (lane.near) this.paint(lane);
  }

  draw(seeds: LaneSeed[], axis: Axis, frame: Frame): void {
    this.axis = axis;
    this.frame = frame;
    this.x = new Scale(axis.from, axis.to, frame.left, frame.width - frame.right);
    const row = frame.narrow ? rowHeightNarrow : rowHeight;
    const height = Math.max(row * seeds.length, 1);
    this.svg.setAttribute("viewBox", `0 0 ${frame.width} ${height}`);
    this.svg.setAttribute("width", String(frame.width));
    this.svg.setAttribute("height", String(height));
    const order = seeds.map((of) => of.seed.id), here = new Set(order);
    for (const [id, lane] of this.lanes) {
      if (here.has(id)) continue;
      this.watcher.unobserve(lane.group);
      lane.group.remove();
      this.lanes.delete(id);
    }
    if (order.join("\n") !== this.order.join("\n")) this.order = order;
    this.focused = Math.min(this.focused, Math.max(order.length - 1, 0));
    seeds.forEach((of, i) => {
      const lane = this.lane(of);
      lane.of = of;
      lane.group.setAttribute("transform", `translate(0 ${i * row})`);
      lane.group.setAttribute("tabindex", i === this.focused ? "0" : "-1");
      this.label(lane);
      if (lane.near) this.paint(lane);
    });
  }

  private lane(of: LaneSeed): Lane {
    const id = of.seed.id;
    const known = this.lanes.get(id);
    if (known) return known;
    const body = s("g", {});
    const group = s("g", { class: "lane", role: "link" }, body);
    group.dataset["seed"] = id;
    const lane: Lane = { group, body, of, active: -1, near: false, painted: [] };
    group.addEventListener("click", () => this.open(id));
    group.addEventListener("keydown", (e) => this.key(e, lane));
    group.addEventListener("focus", () => { this.focused = Math.max(0, this.order.indexOf(id)); });
    group.addEventListener("blur", () => this.activate(lane, -1));
    group.addEventListener("pointermove", (e) => this.hover(e, lane));
    group.addEventListener("pointerleave", () => this.tip("", null));
    this.lanes.set(id, lane);
    this.room.append(group);
    this.watcher.observe(group);
    return lane;
  }

  private label(lane: Lane): void {
    const { seed, marks } = lane.of;
    const fate = fateOf(seed.stage);
    lane.group.setAttribute("aria-label",
      `${plain(seed.blueprint ?? "seed", 40)} ${shortSeed(seed, this.run)}, ${words(seed.stage)}, ${fate}` +
      (seed.alpha === null ? "" : `, share ${figure(seed.alpha)}`) + (seed.reason ? `, ${words(seed.reason)}` : "") + `, ${marks.length} marks`);
    lane.group.dataset["stage"] = seed.stage ?? "";
  }

  private paint(lane: Lane): void {
    const { seed, points, marks } = lane.of;
    const frame = this.frame!, axis = this.axis!;
    const of = [seed, points, marks.length, lane.active, axis.key, frame.width];
    if (of.every((part, i) => part === lane.painted[i])) return;
    lane.painted = of;
    const fate = fateOf(seed.stage);
    const top = frame.narrow ? 18 : 6;
    const parts: SVGElement[] = [s("rect", { class: "ground", x: 0, y: 0, width: frame.width, height: frame.narrow ? rowHeightNarrow : rowHeight })];
    parts.push(...this.name(seed, fate));
    for (const interval of seed.stages ?? []) parts.push(...this.band(interval, lane.of, top));
    parts.push(s("line", { class: "base", x1: frame.left, x2: frame.width - frame.right, y1: top + bandHeight + 0.5, y2: top + bandHeight + 0.5 }));
    marks.forEach((mark, i) => parts.push(this.mark(mark, top, i === lane.active)));
    replace(lane.body, ...parts);
  }

  private name(seed: Seed, fate: ReturnType<typeof fateOf>): SVGElement[] {
    const name = plain(seed.blueprint ?? "seed", 14), id = shortSeed(seed, this.run);
    const sign = s("text", { class: `fate fate-${fate}`, x: 2, y: this.frame!.narrow ? 13 : 14, "aria-hidden": "true" }, fateSign[fate]);
    const stage = fate === "culled" && seed.reason ? words(seed.reason)
      : words(seed.stage).toLowerCase() + (seed.paused ? ", paused" : "") + (seed.slot ? ` \u00b7 ${plain(seed.slot, 12)}` : "");
    if (this.frame!.narrow) {
      return [sign, s("text", { x: 16, y: 13 }, s("tspan", { class: "strong" }, name), s("tspan", { class: "faint", dx: 6 }, `${plain(id, 14)} \u00b7 ${stage}`))];
    }
    return [sign,
      s("text", { x: 18, y: 14 }, s("tspan", { class: "strong" }, name), s("tspan", { class: "faint", dx: 6 }, plain(id, 15))),
      s("text", { class: "faint", x: 18, y: 27 }, plain(stage, 27))];
  }

  // across is where a stage lies, at least as wide as can be seen.
  private across(interval: Interval): [number, number] {
    const from = this.x!.at(this.axis!.ofTime(Date.parse(interval.from)));
    const to = interval.to === null ? this.x!.end : this.x!.at(this.axis!.ofTime(Date.parse(interval.to)));
    return [round(from), round(Math.max(to, from + 1.5))];
  }

  private band(interval: Interval, of: LaneSeed, top: number): SVGElement[] {
    const [from, to] = this.across(interval);
    const name = stageClass(interval.stage), width = round(to - from);
    if (interval.stage === "DORMANT") return [];
    const parts: SVGElement[] = [s("g", { class: `band ${name}` },
      s("rect", { class: "wash", x: from, y: top, width, height: bandHeight }),
      s("rect", { x: from, y: top, width, height: bandHeight, fill: `url(#p-${name.slice(3)})`, class: "weave" }),
      s("path", { class: "edge", d: `M${from} ${top}V${top + bandHeight}` }),
      sharing.has(interval.stage) && s("path", { class: "share", d: this.share(interval, of, top) || "M0 0" }))];
    const text = words(interval.stage).toLowerCase();
    if (width > 6.2 * text.length + 8) parts.push(s("text", { class: "stage", x: from + 5, y: top + 14 }, text));
    return parts;
  }

  // share is the area under a seed's share in the output while it is in a stage.
  private share(interval: Interval, of: LaneSeed, top: number): string {
    const [left, right] = this.across(interval);
    const begin = Date.parse(interval.from), end = interval.to === null ? Infinity : Date.parse(interval.to);
    const floor = top + bandHeight, y = (alpha: number) => round(floor - Math.min(Math.max(alpha, 0), 1) * bandHeight);
    let before: number | null = interval.stage === "BLENDING" ? 0 : null, drawn = "", last: number | null = null;
    for (const point of of.points ?? []) {
      if (point.alpha === null) continue;
      const at = Date.parse(point.at);
      if (at < begin) {
        if (interval.stage !== "BLENDING") before = point.alpha;
        continue;
      }
      if (at > end) break;
      const x = Math.min(Math.max(round(this.x!.at(this.axis!.of(point))), left), right);
      if (drawn === "") drawn = `M${left} ${floor}L${left} ${y(before ?? point.alpha)}`;
      drawn += `L${x} ${y(point.alpha)}`;
      last = point.alpha;
    }
    if (last === null) {
      last = before ?? (interval.to === null ? of.seed.alpha : null);
      if (last === null || last === 0) return "";
      drawn = `M${left} ${floor}L${left} ${y(last)}`;
    }
    return `${drawn}L${right} ${y(last)}L${right} ${floor}Z`;
  }

  private mark(e: Event, top: number, active: boolean): SVGElement {
    const x = round(this.x!.at(this.axis!.ofTime(Date.parse(e.at))));
    const shut = e.kind === "gate" && e.details?.["passed"] !== "true";
    const kind = e.kind === "gate" ? (shut ? "gate shut" : "gate") : e.kind;
    const d = e.kind === "gate"
      ? shut ? `M${x - 3} ${top + bandHeight - 3}l6 6m0 -6l-6 6` : `M${x} ${top + bandHeight - 3}l3 3l-3 3l-3 -3Z`
      : `M${x - 3.5} ${top - 4}h7l-3.5 6Z`;
    return s("g", { class: `mark ${kind}${active ? " active" : ""}` }, s("path", { d }),
      active && s("circle", { cx: x, cy: e.kind === "gate" ? top + bandHeight : top - 1, r: 6.5, class: "ring" }));
  }

  private hover(event: PointerEvent, lane: Lane): void {
    if (event.pointerType === "touch") return;
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    const near = this.nearest(lane, x);
    const box = new DOMRect(event.clientX, event.clientY, 0, 12);
    if (near >= 0) this.tip(this.said(lane.of.marks[near]!), box);
    else this.tip(this.stageAt(lane, x), box);
  }

  private nearest(lane: Lane, x: number): number {
    let best = -1, near = 6;
    lane.of.marks.forEach((mark, i) => {
      const away = Math.abs(this.x!.at(this.axis!.ofTime(Date.parse(mark.at))) - x);
      if (away < near) [best, near] = [i, away];
    });
    return best;
  }

  private stageAt(lane: Lane, x: number): string {
    for (const interval of lane.of.seed.stages ?? []) {
      const [from, to] = this.across(interval);
      if (x >= from && x <= to) return `${words(interval.stage)}${Object.hasOwn(stages, interval.stage) ? `: ${stages[interval.stage]}` : ""}, from ${moment(interval.from)}`;
    }
    return lane.of.seed.reason ? words(lane.of.seed.reason) : "";
  }

  private said(mark: Event): string {
    return `${moment(mark.at)} ${sentence(mark)}`;
  }

  private key(event: KeyboardEvent, lane: Lane): void {
    const here = this.order.indexOf(lane.of.seed.id), marks = lane.of.marks.length;
    const row = { ArrowUp: here - 1, ArrowDown: here + 1, Home: 0, End: this.order.length - 1 }[event.key];
    if (row !== undefined) {
      event.preventDefault();
      this.focus(Math.min(Math.max(row, 0), this.order.length - 1));
      return;
    }
    switch (event.key) {
      case "ArrowRight": this.activate(lane, Math.min(lane.active + 1, marks - 1)); break;
      case "ArrowLeft": this.activate(lane, Math.max(lane.active - 1, 0)); break;
      case "Escape": this.activate(lane, -1); break;
      case "Enter": case " ": this.open(lane.of.seed.id); break;
      default: return;
    }
    event.preventDefault();
  }

  private focus(row: number): void {
    this.lanes.get(this.order[this.focused] ?? "")?.group.setAttribute("tabindex", "-1");
    const next = this.lanes.get(this.order[row] ?? "");
    next?.group.setAttribute("tabindex", "0");
    next?.group.focus();
  }

  private activate(lane: Lane, mark: number): void {
    if (mark === lane.active && mark < 0) return;
    lane.active = mark;
    this.paint(lane);
    const e = lane.of.marks[mark];
    this.tip(e ? this.said(e) : "", e ? lane.body.querySelector(".mark.active")?.getBoundingClientRect() ?? null : null);
  }
}

// legend names the stages with colour and pattern, and the marks.
export function legend(): Node {
  const items = ["GERMINATED", "TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY", "FOSSILIZED", "CULLED", "EMBARGOED"].map((stage) => {
    const name = stageClass(stage);
    return item(s("g", { class: `band ${name}` }, s("rect", { class: "wash", width: 22, height: 12 }),
      s("rect", { class: "weave", width: 22, height: 12, fill: `url(#p-${name.slice(3)})` }),
      ["FOSSILIZED", "PROBATIONARY", "SHADOWING"].includes(stage) && s("rect", { class: "share", width: 22, height: 12 }),
      stage === "BLENDING" && s("path", { class: "share", d: "M0 12L22 0V12Z" })), stage.toLowerCase());
  });
  items.push(
    item(s("g", { class: "mark command" }, s("path", { d: "M7.5 3h7l-3.5 6Z" })), "command"),
    item(s("g", { class: "mark gate" }, s("path", { d: "M11 3l3 3l-3 3l-3 -3Z" })), "gate opened"),
    item(s("g", { class: "mark gate shut" }, s("path", { d: "M8 3l6 6m0 -6l-6 6" })), "gate shut"));
  const list = document.createElement("ul");
  list.className = "legend-stages";
  list.append(...items);
  return list;
}

function item(drawing: SVGElement, text: string): HTMLLIElement {
  const li = document.createElement("li");
  li.append(s("svg", { width: 22, height: 12, viewBox: "0 0 22 12", "aria-hidden": "true" }, drawing), text);
  return li;
}

