import type { Maybe, Report } from "./api";
import { Axis, Scale, type Frame } from "./axis";
import { replace, s } from "./dom";
import { figure, moment, percent } from "./format";

export type Measure = "loss" | "accuracy";

// Moment is something that is marked across the curve: a seed that was kept or taken out, a
// trainer that went back, an emergency.
export interface Moment { at: number; kind: "kept" | "culled" | "alarm"; text: string }

interface Line { key: string; title: string; of(report: Report): Maybe; gaps: boolean }

const lines: Record<Measure, Line[]> = {
  loss: [
    { key: "train", title: "in training", of: (r) => r.train_loss, gaps: false },
    { key: "baseline", title: "baseline", of: (r) => r.baseline_loss, gaps: false },
    { key: "host", title: "host alone", of: (r) => r.host_loss, gaps: true },
    { key: "whole", title: "whole model", of: (r) => r.loss, gaps: false },
  ],
  accuracy: [
    { key: "baseline", title: "baseline", of: (r) => r.baseline_accuracy, gaps: false },
    { key: "host", title: "host alone", of: (r) => r.host_accuracy, gaps: true },
    { key: "whole", title: "whole model", of: (r) => r.accuracy, gaps: false },
  ],
};

const top = 10, bottom = 22;

// Curve draws what reports tell of loss or accuracy. Arrows move along it.
export class Curve {
  readonly svg = s("svg", { class: "curve", role: "img", tabindex: 0, "aria-describedby": "said" });
  private reports: Report[] = [];
  private shown: Line[] = [];
  private frame: Frame | undefined;
  private axis: Axis | undefined;
  private y: Scale | undefined;
  private x: Scale | undefined;
  private at = -1; // the report that is pointed at
  private readonly cross = s("g", { class: "cross" });
  private measure: Measure = "loss";

  constructor(private readonly say: (text: string) => void, private readonly titles: Record<string, string> = {}) {
    this.svg.addEventListener("pointermove", (e) => this.point(e.clientX - this.svg.getBoundingClientRect().left));
    this.svg.addEventListener("pointerleave", () => this.select(-1));
    this.svg.addEventListener("blur", () => this.select(-1));
    this.svg.addEventListener("keydown", (e) => this.key(e));
  }

  draw(reports: Report[], axis: Axis, frame: Frame, measure: Measure, ratios: boolean, height: number, moments: Moment[] = []): void {
    Object.assign(this, { reports, axis, frame, measure });
    this.shown = lines[measure].filter((line) => reports.some((r) => line.of(r) !== null))
      .map((line) => ({ ...line, title: this.titles[line.key] ?? line.title }));
    const lead = frame.narrow ? 4 + 16 * this.legendRows() : 0; // room for the legend
    const domain = this.domain(ratios && measure === "loss");
    this.y = new Scale(domain.low, domain.high, height - bottom, top + lead, domain.ratios);
    this.x = new Scale(axis.from, axis.to, frame.left, frame.width - frame.right);
    this.svg.setAttribute("viewBox", `0 0 ${frame.width} ${height}`);
    this.svg.setAttribute("width", String(frame.width));
    this.svg.setAttribute("height", String(height));
    const last = reports.at(-1);
    this.svg.setAttribute("aria-label", last
      ? `Curve of the ${measure} by ${axis.along}, ${this.shown.map((l) => `${l.title} ${this.value(newest(reports, l))}`).join(", ")}. Left and right move along it.`
      : `No report yet of the ${measure}.`);
    replace(this.svg, this.grid(height), ...moments.map((m) => this.moment(m)), ...this.shown.map((line) => this.path(line)), this.legend(), this.cross);
    this.select(this.at >= reports.length ? -1 : this.at, false);
  }

  private value(value: Maybe): string {
    return this.measure === "accuracy" ? percent(value) : figure(value);
  }

  private domain(ratios: boolean): { low: number; high: number; ratios: boolean } {
    let low = Infinity, high = -Infinity;
    for (const line of this.shown) {
      for (const report of this.reports) {
        const value = line.of(report);
        if (value === null) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (low > high) return { low: 0, high: 1, ratios: false };
    if (ratios && low > 0) return { low: low * 0.95, high: high * 1.05 || 1, ratios: true };
    const room = (high - low || Math.abs(high) || 1) * 0.05;
    return { low: low >= 0 ? Math.max(0, low - room) : low - room, high: this.measure === "accuracy" ? Math.min(high + room, Math.max(1, high)) : high + room, ratios: false };
  }

  private grid(height: number): SVGElement {
    const frame = this.frame!, x = this.x!, y = this.y!;
    const g = s("g", { class: "grid" });
    for (const tick of y.ticks(Math.max(2, Math.floor((height - 40) / 38)))) {
      const at = Math.round(y.at(tick.value)) + 0.5;
      g.append(s("line", { x1: frame.left, x2: frame.width - frame.right, y1: at, y2: at }),
        s("text", { x: frame.left - 6, y: at + 3.5, "text-anchor": "end" }, this.measure === "accuracy" ? `${Math.round(1000 * tick.value) / 10} %` : tick.text));
    }
    for (const tick of this.axis!.ticks(frame.narrow ? 4 : 10)) {
      const at = x.at(tick.value);
      const anchor = at > frame.width - 40 ? "end" : at < frame.left + 12 ? "start" : "middle";
      g.append(s("line", { class: "tick", x1: at, x2: at, y1: height - bottom, y2: height - bottom + 4 }),
        s("text", { x: at, y: height - 6, "text-anchor": anchor }, tick.text));
    }
    return g;
  }

  private moment(m: Moment): SVGElement {
    const x = Math.round(this.x!.at(this.axis!.ofTime(m.at))) + 0.5, y = this.y!.end;
    const sign = m.kind === "kept" ? `M${x - 3.5} ${y}l2.5 3l5 -6` : m.kind === "culled" ? `M${x - 3} ${y - 3}l6 6m0 -6l-6 6` : `M${x} ${y - 4}v5m0 2v1`;
    return s("g", { class: `moment moment-${m.kind}` }, s("title", {}, m.text), s("line", { x1: x, x2: x, y1: y + 7, y2: this.y!.begin }), s("path", { d: sign, fill: "none" }));
  }

  private path(line: Line): SVGElement {
    const parts: string[] = [];
    let drawn = false, alone: { x: number; y: number } | undefined;
    const dots: SVGElement[] = [];
    for (const report of this.reports) {
      const value = line.of(report);
      if (value === null) {
        if (line.gaps && report.loss !== null && drawn) {
          if (alone) dots.push(s("circle", { cx: alone.x, cy: alone.y, r: 1.6, class: "dot" }));
          drawn = false;
          alone = undefined;
        }
        continue;
      }
      const x = round(this.x!.at(this.axis!.of(report))), y = round(this.y!.at(value));
      parts.push(`${drawn ? "L" : "M"}${x} ${y}`);
      alone = drawn ? undefined : { x, y };
      drawn = true;
    }
    if (alone) dots.push(s("circle", { cx: alone.x, cy: alone.y, r: 1.6, class: "dot" }));
    return s("g", { class: `line line-${line.key}` }, s("path", { d: parts.join("") || "M0 0", fill: "none" }), ...dots);
  }

  // legendRows are two where the lines' names do not fit beside each other.
  private legendRows(): number {
    return this.shown.length > 3 ? 2 : 1;
  }

  private legend(): SVGElement {
    const frame = this.frame!;
    const g = s("g", { class: "legend" });
    const shown = [...this.shown].reverse(), beside = Math.max(Math.ceil(shown.length / this.legendRows()), this.legendRows() > 1 ? 2 : 3);
    shown.forEach((line, i) => {
      const [x, y] = frame.narrow ? [frame.left + (i % beside) * ((frame.width - frame.left) / beside), 10 + 16 * Math.floor(i / beside)] : [0, 20 + 36 * i];
      g.append(s("g", { class: `line line-${line.key}` }, s("path", { d: `M${x} ${y - 4}h18`, fill: "none" })));
      if (frame.narrow) {
        g.append(s("text", { x: x + 22, y }, line.title));
        return;
      }
      g.append(s("text", { x: x + 24, y }, line.title), s("text", { class: "value", x: x + 24, y: y + 15 }, this.value(newest(this.reports, line))));
    });
    return g;
  }

  private key(event: KeyboardEvent): void {
    const n = this.reports.length;
    const far = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: (this.at < 0 ? n : this.at) - far, ArrowRight: this.at + far, Home: 0, End: n - 1, Escape: -1 }[event.key];
    if (to === undefined || n === 0) return;
    event.preventDefault();
    this.select(event.key === "Escape" ? -1 : Math.min(Math.max(to, 0), n - 1));
  }

  private point(x: number): void {
    let best = -1, near = 24;
    for (let i = 0; i < this.reports.length; i++) {
      const away = Math.abs(this.x!.at(this.axis!.of(this.reports[i]!)) - x);
      if (away < near) [best, near] = [i, away];
    }
    this.select(best);
  }

  private select(at: number, tell = true): void {
    this.at = at;
    const report = this.reports[at];
    if (!report || !this.x || !this.y || !this.frame) {
      replace(this.cross);
      return;
    }
    const x = round(this.x.at(this.axis!.of(report)));
    const values = [...this.shown].reverse().filter((l) => l.of(report) !== null);
    const texts = [`epoch ${report.epoch}, ${moment(report.at)}`, ...values.map((l) => `${l.title} ${this.value(l.of(report))}`)];
    const width = 12 + 6.1 * Math.max(...texts.map((t) => t.length));
    const left = x + width + 12 > this.frame.width ? Math.max(2, x - width - 8) : x + 8;
    const y = this.y.end + 2;
    replace(this.cross,
      s("line", { x1: x, x2: x, y1: this.y.end, y2: this.y.begin }),
      ...values.map((l) => s("circle", { cx: x, cy: this.y!.at(l.of(report)!), r: 3, class: `at line-${l.key}` })),
      s("rect", { x: left, y, width, height: 8 + 15 * texts.length, rx: 3 }),
      ...texts.map((t, i) => s("text", { x: left + 6, y: y + 15 * (i + 1) }, t)));
    if (tell && document.activeElement === this.svg) this.say(texts.join(", "));
  }
}

function newest(reports: Report[], line: Line): Maybe {
  for (let i = reports.length - 1; i >= 0; i--) {
    const value = line.of(reports[i]!);
    if (value !== null) return value;
  }
  return null;
}

export function round(value: number): number {
  return Math.round(10 * value) / 10;
}
