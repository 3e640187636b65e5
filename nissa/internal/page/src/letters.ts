import { get, Refusal, type Letter, type LetterDetails } from "./api";
import { deskOf } from "./desk";
import { h, named, plain, replace, type Child } from "./dom";
import { count, moment } from "./format";
import { Columns, facts } from "./parts";
import { keeping } from "./polled";
import { words } from "./words";

const columns = new Columns([".Letter", ".Given up", "Stream", "Group", ".Message", "~Why", "."]);

// Shown is what somebody wants to see of the letters.
interface Shown {
  opened: Map<string, LetterDetails>; // with what each holds
  doomed: Set<string>; // whose removal is asked about
  act: ReturnType<typeof deskOf>["act"];
  draw(): void;
}

// removal removes a letter, which cannot be had again, at a second click.
function removal(id: string, path: string, { doomed, act, draw }: Shown): Child[] {
  const turn = (to: boolean) => {
    if (to) doomed.add(id); else doomed.delete(id);
    draw();
    document.querySelector<HTMLElement>(`[data-letter="${CSS.escape(id)}"] ${to ? ".keep" : ".remove"}`)?.focus();
  };
  if (!doomed.has(id)) return [h("button", { type: "button", class: "quiet remove", click: () => turn(true) }, "Remove")];
  return [act("Remove for good", "DELETE", path), h("button", { type: "button", class: "quiet keep", click: () => turn(false) }, "Keep")];
}

function replay(letter: Letter, path: string, { act }: Shown): Child {
  if (letter.replayed) return h("span", { class: "faint" }, "replayed");
  return letter.refused ? h("span", { class: "faint", title: plain(letter.refused, 200) }, "no replay") : act("Replay", "POST", path + "/replay");
}

// letterLine is one dead letter; what it holds is fetched when it is opened.
function letterLine(letter: Letter, shown: Shown): Node[] {
  const path = `/api/deadletters/${encodeURIComponent(letter.id)}`, { opened, draw } = shown, details = opened.get(letter.id);
  const toggle = h("button", {
    type: "button", class: "quiet", "aria-expanded": details ? "true" : "false", click: () => {
      if (opened.delete(letter.id)) { draw(); return; }
      void get<LetterDetails>(path).then((details) => { opened.set(letter.id, details); draw(); }, () => undefined);
    },
  }, details ? "Close" : "Open");
  const cells: Child[] = [h("code", {}, plain(letter.id, 40)), moment(letter.time), named(letter.stream, 40), named(letter.group, 40), words(letter.type).toLowerCase(),
    h("span", {}, words(letter.reason), letter.error && letter.error !== letter.reason ? h("span", { class: "under" }, h("bdi", {}, plain(letter.error, 200))) : null),
    h("span", { class: "acts" }, toggle, replay(letter, path, shown), ...removal(letter.id, path, shown))];
  const row = columns.row(cells, { "data-letter": letter.id, "data-of": letter.id });
  if (!details) return [row];
  const bytes = Uint8Array.from(atob(details.payload), (c) => c.charCodeAt(0));
  return [row, h("tr", { "data-of": letter.id }, h("td", { colspan: cells.length, class: "prose" },
    Object.keys(details.attributes ?? {}).length > 0 && facts(Object.entries(details.attributes!).slice(0, 24).map(([k, v]): [string, Child] => [plain(k, 64), named(v, 128)])),
    details.unreadable ? h("p", { class: "bad" }, h("bdi", {}, plain(details.unreadable, 300))) : h("pre", {}, h("bdi", {}, lines(JSON.stringify(details.message, null, 2)))),
    h("details", {}, h("summary", {}, `${count(letter.bytes)} bytes`), h("pre", {}, hex(bytes.subarray(0, 2048)) + (letter.bytes > 2048 ? "\n\u2026" : "")))))];
}

function lines(text: string): string {
  return text.slice(0, 20_000).split("\n").map((line) => plain(line, 400)).join("\n");
}

function hex(bytes: Uint8Array): string {
  const rows: string[] = [];
  for (let i = 0; i < bytes.length; i += 16) {
    const row = [...bytes.subarray(i, i + 16)];
    rows.push(i.toString(16).padStart(4, "0") + "  " + row.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(48) + " " +
      row.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : ".")).join(""));
  }
  return rows.join("\n");
}

// deadLetters lists what was given up, the oldest first, page by page.
export function deadLetters(): { element: HTMLElement; load(): Promise<void> } {
  const opened = new Map<string, LetterDetails>(), doomed = new Set<string>(), body = h("tbody", {}), told = h("p", { class: "empty" });
  let letters: Letter[] = [], after = "";
  const more = h("button", { type: "button", class: "quiet", hidden: true, click: () => { after = letters.at(-1)?.id ?? ""; void load(); } }, "Later letters");
  const first = h("button", { type: "button", class: "quiet", hidden: true, click: () => { after = ""; void load(); } }, "From the oldest");
  const { desk, act } = deskOf(() => void load());
  const rows = columns.table("Dead letters", body, true);
  let drawn = "";
  const draw = () => {
    const now = JSON.stringify([letters, [...opened.keys()], [...doomed]]);
    if (now !== drawn) keeping(body, () => replace(body, ...letters.flatMap((letter) => letterLine(letter, { opened, doomed, act, draw }))));
    drawn = now;
    rows.hidden = desk.hidden = letters.length === 0;
  };
  async function load(): Promise<void> {
    try {
      letters = (await get<{ letters: Letter[] }>("/api/deadletters", { limit: 50, after: after || undefined })).letters;
      told.textContent = letters.length === 0 ? "There is no dead letter." : "";
    } catch (error) {
      letters = [];
      told.textContent = error instanceof Refusal && error.status === 401 ? "Dead letters are shown to whoever has the token." : `Could not be loaded: ${plain((error as Error).message, 200)}.`;
      draw();
      desk.hidden = false;
      return;
    }
    more.hidden = letters.length < 50;
    first.hidden = after === "";
    draw();
  }
  return { load, element: h("section", { class: "panel" }, h("h2", {}, "Dead letters"), desk, told, rows, first, " ", more) };
}
