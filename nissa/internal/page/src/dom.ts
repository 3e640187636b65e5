// Elements are made of nodes and texts alone: nothing that came over the bus is ever parsed
// as markup, and the page's policy forbids it as well.

export type Child = Node | string | number | null | undefined | false;
type Handler = (event: never) => void;
export type Attributes = Record<string, string | number | boolean | undefined | Handler>;

const svgSpace = "http://www.w3.org/2000/svg";

function fill<E extends Element>(element: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value as unknown as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children: Child[]): (Node | string)[] {
  return children.filter((c): c is Node | string | number => c !== null && c !== undefined && c !== false)
    .map((c) => (typeof c === "number" ? String(c) : c));
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K, attributes: Attributes = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

export function s<K extends keyof SVGElementTagNameMap>(
  tag: K, attributes: Attributes = {}, ...children: Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(svgSpace, tag) as SVGElementTagNameMap[K], attributes, children);
}

export function replace(element: Element, ...children: Child[]): void {
  element.replaceChildren(...nodes(children));
}

// What cannot be seen, or turns what stands beside it around.
const unseen = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

// plain is a text of others as it may stand in a line of ours.
export function plain(text: string, most = 512): string {
  const shown = text.slice(0, 2 * most).replace(unseen, "\u00b7");
  return shown.length > most ? shown.slice(0, most - 1) + "\u2026" : shown;
}

// named shows a name of others, isolated from the direction of what is around it.
export function named(text: string, most = 64): HTMLElement {
  const shown = plain(text, most);
  return h("bdi", { class: "name", title: shown === text ? undefined : plain(text) }, shown || "\u2014");
}

export function visuallyHidden(text: string): HTMLElement {
  return h("span", { class: "unseen" }, text);
}

// limited calls f at once, and then at most once an interval, the last time after the last call.
export function limited(interval: number, f: () => void): (() => void) & { cancel(): void } {
  let timer: number | undefined;
  let again = false;
  const call = () => {
    if (timer !== undefined) {
      again = true;
      return;
    }
    timer = window.setTimeout(() => {
      timer = undefined;
      if (again) call();
    }, interval);
    again = false;
    f();
  };
  return Object.assign(call, { cancel: () => { window.clearTimeout(timer); timer = -1; } });
}
