import { get, goesOn, runPath, type Event, type Report, type Run } from "./api";
import { h, limited, named, replace, visuallyHidden } from "./dom";
import { ago, count, figure, percent } from "./format";
import { link, type Page } from "./page";
import { failure, segmented, spark, state } from "./parts";
import { fateOf, fates, fateSign, stageClass, stages, type Fate } from "./words";

interface Row { run: Run; element: HTMLTableRowElement; drawn: string }

type Key = "run" | "state" | "epoch" | "loss" | "accuracy" | "seeds" | "last";

const rank = { halted: 0, conservative: 1, running: 2, silent: 3 };

const columns: [Key, string, string][] = [
  ["run", "Run", ""], ["state", "State", ""], ["loss", "Loss", "number"], ["accuracy", "Accuracy", "number"],
  ["epoch", "Epoch", "number"], ["seeds", "Seeds", ""], ["last", "Last report", "number"],
];

const values: Record<Key, (run: Run) => string | number> = {
  run: (r) => r.id.toLowerCase(), state: (r) => rank[r.state] ?? 3, epoch: (r) => r.epoch, loss: (r) => r.loss ?? Infinity,
  accuracy: (r) => r.accuracy ?? -Infinity, seeds: (r) => sum(r), last: (r) => Date.parse(r.reported_at ?? r.last_at),
};

// Of these the largest come first.
const falling = new Set<Key>(["epoch", "accuracy", "seeds", "last"]);

function sum(run: Run): number {
  return Object.values(run.seeds ?? {}).reduce((a, b) => a + b, 0);
}

// So many runs are loaded at once, and so many until it is asked for more.
const pageOfRuns = 200, searched = 1000;

// growing are the seeds that are on their way, a letter each in the colour of its stage.
function growing(run: Run): HTMLElement[] {
  return Object.keys(stages).filter((stage) => fateOf(stage) === "alive" && run.seeds?.[stage])
    .map((stage) => h("span", { class: `chip ${stageClass(stage)}`, title: stage.toLowerCase() },
      h("span", { "aria-hidden": "true" }, stage.charAt(0) + (run.seeds![stage]! > 1 ? String(run.seeds![stage]) : "")),
      visuallyHidden(` ${stage.toLowerCase()} ${run.seeds![stage]}`)));
}

// runs is the page of all runs.
export function runs(): Page {
  const rows = new Map<string, Row>();
  const body = h("tbody", {});
  const told = h("p", { class: "count", role: "status" });
  const trouble = h("div", {});
  const more = h("button", { type: "button", class: "quiet", hidden: true, click: () => void older() }, "Earlier runs");
  let by: Key = "last", turned = false, filter = "", only = "all", next: string | null = null;

  const heads = columns.map(([key, text, name]) => h("th", { scope: "col", class: name || undefined },
    h("button", { type: "button", click: () => { turned = by === key && !turned; by = key; order(); } }, text)));
  heads.splice(2, 0, h("th", { scope: "col" }, "Curve of the loss"));

  function draw(row: Row): void {
    const r = row.run;
    const drawn = JSON.stringify([r.state, r.loss, r.accuracy, r.epoch, r.seeds, r.experiment, ago(r.reported_at ?? r.last_at)]);
    if (drawn === row.drawn) return;
    row.drawn = drawn;
    const focused = row.element.contains(document.activeElement);
    const f = fates(r);
    const fate = (which: Fate) => h("span", { class: `fate fate-${which}${f[which] ? "" : " nil"}`, title: which },
      h("span", { "aria-hidden": "true" }, fateSign[which] + "\u2009"), String(f[which]), visuallyHidden(" " + which));
    replace(row.element,
      h("th", { scope: "row" }, h("a", { href: link.run(r.id) }, named(r.id, 48)), r.experiment ? h("span", { class: "under" }, named(r.experiment, 40)) : null),
      h("td", { "data-name": "State" }, state(r.state)),
      h("td", { class: "cell-spark" }, spark(r.spark.loss ?? [])),
      h("td", { class: "number", "data-name": "Loss" }, figure(r.loss)),
      h("td", { class: "number", "data-name": "Accuracy" }, percent(r.accuracy)),
      h("td", { class: "number", "data-name": "Epoch" }, count(r.epoch)),
      h("td", { class: "fates", "data-name": "Seeds" }, fate("alive"), fate("kept"), fate("culled"), h("span", { class: "chips" }, ...growing(r))),
      h("td", { class: "number", "data-name": "Last report" }, ago(r.reported_at ?? r.last_at)));
    if (focused) row.element.querySelector("a")?.focus();
  }

  function take(run: Run): void {
    if (run.id === "") return; // what belongs to none
    const known = rows.get(run.id);
    if (known) known.run = run;
    else rows.set(run.id, { run, element: h("tr", {}), drawn: "" });
  }

  function matches(run: Run): boolean {
    if (only !== "all" && run.state !== only) return false;
    const text = filter.toLowerCase();
    return text === "" || run.id.toLowerCase().includes(text) || (run.experiment ?? "").toLowerCase().includes(text);
  }

  function order(): void {
    const value = values[by], down = falling.has(by) !== turned, sign = down ? -1 : 1;
    const shown = [...rows.values()].filter((row) => matches(row.run)).sort((a, b) => {
      const x = value(a.run), y = value(b.run);
      return sign * (x < y ? -1 : x > y ? 1 : 0) || (a.run.id < b.run.id ? -1 : 1);
    });
    for (const row of shown) draw(row);
    const elements = shown.map((row) => row.element);
    if (elements.length !== body.children.length || elements.some((e, i) => e !== body.children[i])) {
      const focused = document.activeElement instanceof HTMLElement && body.contains(document.activeElement) ? document.activeElement : null;
      body.replaceChildren(...elements);
      focused?.focus();
    }
    columns.forEach(([key], i) => heads[i < 2 ? i : i + 1]!.setAttribute("aria-sort", key !== by ? "none" : down ? "descending" : "ascending"));
    const text = rows.size === 0 ? "No run was heard of yet." : next !== null ? `${count(shown.length)} of the last ${count(rows.size)} runs` : rows.size === 1 && shown.length === 1 ? "1 run" : shown.length === rows.size ? `${count(rows.size)} runs` : `${count(shown.length)} of ${count(rows.size)} runs`;
    if (told.textContent !== text) told.textContent = text;
  }

  const drawSoon = limited(100, order);

  async function load(): Promise<void> {
    try {
      const answer = await get<{ runs: Run[]; next: string | null }>("/api/runs", { limit: pageOfRuns });
      const here = new Set(answer.runs.map((r) => r.id));
      if (!answer.next) for (const id of rows.keys()) if (!here.has(id)) rows.delete(id);
      answer.runs.forEach(take);
      if (rows.size <= pageOfRuns) next = answer.next;
      more.hidden = next === null;
      if (next !== null && rows.size < searched) void older().catch(() => undefined);
      replace(trouble);
    } catch (error) {
      replace(trouble, failure(error));
    }
    order();
  }

  async function older(): Promise<void> {
    if (next === null) return;
    const answer = await get<{ runs: Run[]; next: string | null }>("/api/runs", { limit: pageOfRuns, before: next });
    answer.runs.forEach(take);
    next = answer.next;
    more.hidden = next === null;
    order();
    if (next !== null && rows.size < searched) await older();
  }

  // What changed but is not told as a report is asked for, a few runs a second.
  const dirty = new Set<string>();
  const refresh = limited(700, () => {
    const asked = [...dirty].slice(0, 8);
    asked.forEach((id) => dirty.delete(id));
    void Promise.all(asked.map((id) => get<Run>(runPath(id)).then(take).catch(() => undefined))).then(drawSoon);
    if (dirty.size > 0) window.setTimeout(() => refresh(), 0);
  });

  function report(r: Report): void {
    const row = rows.get(r.run);
    if (!row) {
      dirty.add(r.run);
      refresh();
      return;
    }
    const run = row.run;
    Object.assign(run, { epoch: r.epoch, step: r.step, reported_at: r.at, last_at: r.at, reports: run.reports + 1 });
    goesOn(run);
    if (r.loss !== null) {
      run.loss = r.loss;
      run.accuracy = r.accuracy;
      const points = [...(run.spark.loss ?? [])];
      const stride = Math.max(run.spark.stride, 1);
      if (run.spark.seen % stride === 0) points.push(r.loss); else points[points.length - 1] = r.loss;
      const long = points.length > 96;
      run.spark = { loss: long ? points.filter((_, i) => i % 2 === 0) : points, seen: run.spark.seen + 1, stride: long ? 2 * stride : stride };
    }
    drawSoon();
  }

  function event(e: Event): void {
    if (!e.run || !["stage", "emergency", "event"].includes(e.kind)) return;
    dirty.add(e.run);
    refresh();
  }

  const search = h("input", {
    type: "search", placeholder: "Name or experiment", "aria-label": "Runs whose name or experiment has", autocomplete: "off", spellcheck: "false",
    input: () => { filter = search.value.trim(); order(); },
  });
  const ticking = window.setInterval(order, 2000), reloading = window.setInterval(() => void load(), 20_000);
  const element = h("div", {},
    h("div", { class: "bar" }, h("h1", {}, "Runs"), told,
      h("div", { class: "tools" }, search,
        segmented("State", [["all", "all"], ["running", "running"], ["conservative", "conservative"], ["silent", "silent"], ["halted", "halted"]], "all", (which) => { only = which; order(); }))),
    trouble,
    h("table", { class: "runs" }, h("caption", { class: "unseen" }, "Training runs"), h("thead", {}, h("tr", {}, ...heads)), body),
    more);
  return {
    title: "Runs", element, load, report, event,
    close: () => { window.clearInterval(ticking); window.clearInterval(reloading); drawSoon.cancel(); refresh.cancel(); },
  };
}

