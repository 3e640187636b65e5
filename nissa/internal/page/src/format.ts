import { plain } from "./dom";

const minus = "\u2212";

// figure shows a number in about four digits.
export function figure(value: number | null | undefined, signed = false): string {
  if (value === null || value === undefined) return "\u2014";
  const size = Math.abs(value);
  let text: string;
  if (size === 0) text = "0";
  else if (size >= 1e6 || size < 1e-4) text = size.toExponential(2).replace("e+", "e");
  else if (size >= 100) text = size.toLocaleString("en", { maximumFractionDigits: size >= 1000 ? 0 : 1 });
  else text = String(Number(size.toPrecision(4)));
  if (value < 0) return minus + text;
  return signed && value > 0 ? "+" + text : text;
}

// percent has one digit behind the point, and more where asked for and needed.
export function percent(value: number | null | undefined, most = 1): string {
  return value === null || value === undefined ? "\u2014" : (100 * value).toFixed(most).replace(/(\.\d)(\d*?)0+$/, "$1$2") + " %";
}

export function count(value: number): string {
  return value.toLocaleString("en");
}

export function bytes(value: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function clock(at: number): string {
  return new Date(at).toLocaleTimeString("en-GB");
}

// moment is a time of day, with the day when it is another, and the year likewise.
export function moment(text: string | undefined): string {
  if (!text) return "\u2014";
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return "\u2014";
  const now = new Date(), time = at.toLocaleTimeString("en-GB");
  if (at.toDateString() === now.toDateString()) return time;
  const year = at.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year })} ${time}`;
}

export function span(seconds: number): string {
  if (seconds < 0.95) return `${Math.round(1000 * Math.max(seconds, 0))} ms`;
  if (seconds < 59.5) return `${seconds < 9.5 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.round(seconds / 3600);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

// duration reads one such as 30d or 1h30m.
export function duration(text: string): string {
  const seconds: Record<string, number> = { y: 31_536_000, w: 604_800, d: 86_400, h: 3600, m: 60, s: 1, ms: 0.001 };
  const parts = [...text.matchAll(/([\d.]+)(ms|[ywdhms])/g)];
  if (parts.length === 0 || parts.map((p) => p[0]).join("") !== text) return plain(text, 24);
  return span(parts.reduce((sum, [, value, unit]) => sum + Number(value) * seconds[unit!]!, 0));
}

export function ago(text: string | undefined): string {
  if (!text) return "never";
  const seconds = (Date.now() - Date.parse(text)) / 1000;
  return seconds < 2 ? "now" : span(Math.round(seconds)).replace(".0", "") + " ago";
}
