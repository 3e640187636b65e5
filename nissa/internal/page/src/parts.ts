import type { Event } from "./api";
import { h, named, plain, replace, s, type Attributes, type Child } from "./dom";
import { moment } from "./format";
import { link } from "./page";
import { decides, levelOf, sentence, shortSeed } from "./words";

const signs: Record<string, string> = { running: "\u25cf", conservative: "\u25d0", silent: "\u25cb", halted: "\u25a0" };

export function state(of: string): HTMLElement {
  return h("span", { class: `state state-${Object.hasOwn(signs, of) ? of : "silent"}` }, h("span", { "aria-hidden": "true" }, signs[of] ?? "\u25cb"), " " + plain(of, 24));
}

export function facts(pairs: [string, Child][]): HTMLElement {
  return h("dl", { class: "facts" }, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const kinds: Record<string, string> = { "#": "number", ".": "whole", "~": "prose" };

// Columns are those of a table: of one that begins with # the cells hold numbers, with . they are not broken,
// with ~ they hold sentences.
export class Columns {
  private readonly names: string[];
  private readonly kinds: (string | undefined)[];

  constructor(columns: string[]) {
    this.kinds = columns.map((c) => kinds[c.charAt(0)]);
    this.names = columns.map((c) => c.replace(/^[#.~]/, ""));
  }

  // table puts rows under them; the rows of one with cards are cards on a phone, on which
  // names of columns stand where what is in them does not say it itself.
  table(caption: string, body: HTMLElement, cards = false): HTMLElement {
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
      h("table", { class: cards ? "cards" : undefined }, h("caption", { class: "unseen" }, caption),
        h("thead", {}, h("tr", {}, ...this.names.map((c, i) => h("th", { scope: "col", class: this.kinds[i] }, c)))), body));
  }

  row(cells: Child[], attributes: Attributes = {}): HTMLElement {
    return h("tr", attributes, ...cells.map((cell, i) => h("td", { class: this.kinds[i], "data-name": this.names[i] || undefined }, cell)));
  }
}

export function table(caption: string, columns: string[], rows: Child[][], none = "none", cards = false): HTMLElement {
  if (rows.length === 0) return h("p", { class: "empty" }, none);
  const of = new Columns(columns);
  return of.table(caption, h("tbody", {}, ...rows.map((row) => of.row(row))), cards);
}

export function segmented<T extends string>(name: string, options: [T, string][], chosen: T, choose: (option: T) => void): HTMLElement {
  const group = h("div", { class: "segmented", role: "group", "aria-label": name });
  const buttons = options.map(([option, text]) => h("button", {
    type: "button", "aria-pressed": option === chosen ? "true" : "false",
    click: () => {
      buttons.forEach((b, i) => b.setAttribute("aria-pressed", options[i]![0] === option ? "true" : "false"));
      choose(option);
    },
  }, text));
  group.append(...buttons);
  return group;
}

// spark is a small curve; one that falls far is drawn by ratios, so that its end shows too.
export function spark(values: (number | null)[], width = 120, height = 26): SVGSVGElement {
  let known = values.filter((v): v is number => v !== null);
  if (known.length > 0 && Math.min(...known) > 0 && Math.max(...known) > 3 * Math.min(...known)) known = known.map(Math.log);
  const svg = s("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (known.length === 0) return svg;
  const low = Math.min(...known), high = Math.max(...known), room = high - low || 1;
  const at = known.map((v, i) => [
    known.length === 1 ? width - 4 : 2 + (i * (width - 6)) / (known.length - 1), height - 4 - ((v - low) / room) * (height - 8),
  ] as const);
  const last = at.at(-1)!;
  svg.append(s("path", { d: at.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(""), fill: "none" }),
    s("circle", { cx: last[0], cy: last[1], r: 2 }));
  return svg;
}

const mostLines = 150;

// Feed tells what happened, the last first: of a run what was decided, or everything; of anything else all that it is given.
export class Feed {
  readonly element: HTMLElement;
  private readonly list = h("ol", { class: "feed" });
  private events: Event[] = [];
  private all: boolean;

  constructor(private readonly about: { run?: string; seed?: string }, private readonly older?: (before: number) => Promise<Event[]>, title = "Decisions") {
    this.all = about.run === undefined;
    this.element = h("section", { class: "panel", "aria-label": title },
      h("div", { class: "bar" }, h("h2", {}, title),
        about.run !== undefined && segmented("What is told", [["decisions", "decisions"], ["all", "everything"]], "decisions", (which) => {
          this.all = which === "all";
          this.draw();
        })),
      this.list,
      older && h("button", { type: "button", class: "quiet", click: () => void this.more() }, "Earlier"));
  }

  set(events: Event[]): void {
    this.events = [...events].sort((a, b) => b.seq - a.seq);
    this.draw();
  }

  add(e: Event): void {
    if (this.events.some((known) => known.seq === e.seq)) return;
    this.events.unshift(e);
    this.events.sort((a, b) => b.seq - a.seq);
    this.events.length = Math.min(this.events.length, 2000);
    if (!this.all && !decides(e)) return;
    this.list.querySelector(".empty")?.remove();
    this.list.prepend(this.line(e));
    while (this.list.childElementCount > mostLines) this.list.lastElementChild!.remove();
  }

  private async more(): Promise<void> {
    const last = this.events.at(-1);
    if (!last || !this.older) return;
    const older = await this.older(last.seq).catch(() => []);
    this.set([...this.events, ...older]);
    if (older.length === 0) this.element.querySelector("button.quiet")?.remove();
  }

  private draw(): void {
    const shown = this.events.filter((e) => this.all || decides(e)).slice(0, this.older ? 1000 : mostLines);
    replace(this.list, ...shown.map((e) => this.line(e)));
    if (shown.length === 0) this.list.append(h("li", { class: "empty" }, "Nothing was told yet."));
  }

  private line(e: Event): HTMLElement {
    const seed = e.seed && e.seed !== this.about.seed && e.run
      ? h("a", { href: link.seed(e.run, e.seed), class: "to-seed" }, h("bdi", {}, shortSeed({ id: e.seed, blueprint: e.details?.["blueprint"] }, e.run))) : null;
    const run = e.run && e.run !== this.about.run ? h("a", { href: link.run(e.run), class: "to-seed" }, named(e.run, 32)) : null;
    const kind = e.kind === "gate" && e.details?.["passed"] !== "true" ? "gate shut" : e.kind;
    return h("li", { class: `kind-${kind} level-${plain(levelOf(e), 12)}` },
      h("time", { datetime: e.at }, moment(e.at)), h("span", { class: "said" }, h("bdi", {}, sentence(e)), " ", seed, " ", run));
  }
}

// failure is shown where something could not be loaded.
export function failure(error: unknown): HTMLElement {
  const text = error instanceof Error ? error.message : String(error);
  return h("p", { class: "failure", role: "alert" }, `Could not be loaded: ${plain(text, 200)}.`);
}
