import type { Report } from "./api";
import { clock, figure } from "./format";

export type Along = "epoch" | "time";

// Axis is what the curve and the lanes share: where a report and a moment lie across.
export class Axis {
  private readonly times: number[] = [];
  private readonly values: number[] = [];
  readonly from: number;
  readonly to: number;
  readonly key: string; // the same for axes on which all lies in the same place

  constructor(readonly along: Along, reports: Report[], now?: number) {
    for (const report of reports) {
      const at = Date.parse(report.at);
      this.times.push(at);
      this.values.push(along === "time" ? at : report.epoch);
    }
    let from = Infinity, to = -Infinity;
    for (const value of this.values) {
      from = Math.min(from, value);
      to = Math.max(to, value);
    }
    if (along === "time" && now !== undefined) to = Math.max(to, now);
    if (from > to) from = to = along === "time" ? (now ?? 0) : 0;
    this.from = from;
    this.to = to > from ? to : from + 1;
    this.key = [along, this.from, this.to, this.times.length, this.times.at(-1)].join();
  }

  of(report: { at: string; epoch: number }): number {
    return this.along === "time" ? Date.parse(report.at) : report.epoch;
  }

  // ofTime is where a moment lies: between the reports before and after it.
  ofTime(at: number): number {
    if (this.along === "time") return Math.min(Math.max(at, this.from), this.to);
    const n = this.times.length;
    if (n === 0) return this.from;
    let low = 0, high = n;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle]! <= at) low = middle + 1; else high = middle;
    }
    if (low === 0) return this.values[0]!;
    if (low === n) return this.values[n - 1]!;
    const begin = this.times[low - 1]!, end = this.times[low]!;
    const share = end > begin ? (at - begin) / (end - begin) : 0;
    return this.values[low - 1]! + share * (this.values[low]! - this.values[low - 1]!);
  }

  ticks(most: number): { value: number; text: string }[] {
    if (this.along === "epoch") {
      return steps(this.from, this.to, most, true).map((value) => ({ value, text: String(value) }));
    }
    const whole = (this.to - this.from) / 1000;
    const step = spans.find((s) => s >= whole / most) ?? 86_400 * Math.ceil(whole / most / 86_400);
    return Array.from({ length: Math.floor(whole / step) + 1 }, (_, i) => ({
      value: this.from + 1000 * step * i, text: i === 0 ? clock(this.from) : "+" + elapsed(step * i),
    }));
  }
}

// spans are round ones, in seconds.
const spans = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

function elapsed(seconds: number): string {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  if (seconds < 3600) return seconds % 60 === 0 ? `${seconds / 60} min` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const hours = Math.floor(seconds / 3600), minutes = (seconds % 3600) / 60;
  if (hours < 24) return `${hours} h` + (minutes ? ` ${minutes} min` : "");
  return `${Number((seconds / 86_400).toFixed(1))} d`;
}

// steps are round numbers between two, at most so many.
export function steps(from: number, to: number, most: number, whole: boolean): number[] {
  const raw = (to - from) / Math.max(most, 1);
  if (!(raw > 0) || !Number.isFinite(raw)) return [from];
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].map((f) => f * power).find((f) => f >= raw * 0.999) ?? 10 * power;
  if (whole) step = Math.max(1, Math.round(step));
  const found: number[] = [];
  for (let value = Math.ceil(from / step - 1e-9) * step; value <= to + step * 1e-9 && found.length < 50; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

// Scale takes values to pixels, in equal steps or in equal ratios.
export class Scale {
  constructor(readonly from: number, readonly to: number, readonly begin: number, readonly end: number, readonly ratios = false) {}

  at(value: number): number {
    const [v, a, b] = this.ratios ? [Math.log(Math.max(value, 1e-12)), Math.log(this.from), Math.log(this.to)] : [value, this.from, this.to];
    return this.begin + ((v - a) / (b - a || 1)) * (this.end - this.begin);
  }

  ticks(most: number): { value: number; text: string }[] {
    if (!this.ratios) return steps(this.from, this.to, most, false).map((value) => ({ value, text: figure(value) }));
    const found: number[] = [];
    for (let power = Math.floor(Math.log10(this.from)); power <= Math.ceil(Math.log10(this.to)); power++) {
      for (const f of [1, 2, 5]) {
        const value = Number((f * 10 ** power).toPrecision(12));
        if (value >= this.from && value <= this.to) found.push(value);
      }
    }
    const every = Math.max(1, Math.ceil(found.length / most));
    return found.filter((_, i) => i % every === 0).map((value) => ({ value, text: figure(value) }));
  }
}

// Frame is the room of a drawing: lanes and curve have the same, so that their moments lie
// under each other.
export interface Frame { width: number; left: number; right: number; narrow: boolean }

export function frameOf(width: number): Frame {
  const narrow = width < 640;
  return { width, left: narrow ? 42 : 188, right: narrow ? 8 : 14, narrow };
}
