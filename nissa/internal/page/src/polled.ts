import { h, replace } from "./dom";
import type { Page } from "./page";
import { failure } from "./parts";

const every = 3000;

// polled is a page that asks again and again: what it shows is told once in a while anyway.
export function polled(title: string, intro: string, fill: (body: HTMLElement) => Promise<Node[]>, more: Partial<Page> & { above?: Node } = {}, ...below: Node[]): Page {
  const body = h("div", {}), trouble = h("div", {});
  const load = async () => {
    try {
      const parts = await fill(body);
      keeping(body, () => replace(body, ...parts));
      replace(trouble);
    } catch (error) {
      replace(trouble, failure(error));
    }
  };
  const timer = window.setInterval(() => { if (!document.hidden) void load(); }, every);
  const { above, ...rest } = more;
  return {
    title, load, ...rest, close: () => window.clearInterval(timer),
    element: h("div", {}, h("div", { class: "bar" }, h("h1", {}, title)), h("p", { class: "intro" }, intro), trouble, above ?? "", body, ...below),
  };
}

// keeping draws anew what is in a body, and leaves what is open open and what is focused focused. Both are found
// again by what they are of: who presses a key must not hit another line because one above has gone.
export function keeping(body: HTMLElement, draw: () => void): void {
  const keyed = (selector: string) => {
    const all = new Map<string, HTMLElement>();
    for (const element of body.querySelectorAll<HTMLElement>(selector)) {
      const of = element.closest<HTMLElement>("[data-of]")?.dataset["of"] ?? "", text = element.getAttribute("aria-label") ?? element.querySelector("summary")?.textContent ?? element.textContent;
      let key = `${of}\n${element.tagName}\n${text}`;
      while (all.has(key)) key += "\n";
      all.set(key, element);
    }
    return all;
  };
  const stops = "a, button, summary, [tabindex]";
  const open = [...keyed("details")].filter(([, d]) => (d as HTMLDetailsElement).open).map(([key]) => key);
  const focused = [...keyed(stops)].find(([, stop]) => stop === document.activeElement)?.[0];
  draw();
  const details = keyed("details");
  for (const key of open) (details.get(key) as HTMLDetailsElement | undefined)?.setAttribute("open", "");
  if (focused !== undefined) keyed(stops).get(focused)?.focus({ preventScroll: true });
}
