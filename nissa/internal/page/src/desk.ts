import { change, operator } from "./api";
import { h, plain } from "./dom";

interface Desk {
  desk: HTMLElement; // belongs above what it changes
  act(text: string, method: string, path: string, body?: Record<string, unknown>): HTMLElement;
}

// deskOf is where somebody says who asks for a change, with buttons that ask. What is answered stays in sight, wherever the
// button is.
export function deskOf(done: () => void): Desk {
  const said = h("p", { role: "status", class: "answer" });
  const by = h("input", { type: "text", "aria-label": "Who asks", placeholder: "Your name", autocomplete: "username", input: () => { operator.by = by.value; } });
  const token = h("input", { type: "password", "aria-label": "Token", placeholder: "NISSA_HTTP_TOKEN", autocomplete: "off", input: () => { operator.token = token.value; } });
  by.value = operator.by;
  token.value = operator.token;
  const desk = h("form", { class: "tools", submit: (e: Event) => e.preventDefault() }, by, token, said);
  let last = 0;
  const say = (text: string) => {
    window.clearTimeout(last);
    said.textContent = text;
    last = window.setTimeout(() => { said.textContent = ""; }, 10_000);
  };
  const act = (text: string, method: string, path: string, body: Record<string, unknown> = {}) => h("button", {
    type: "button", class: "quiet",
    click: () => void change(method, path, body).then(() => { say("Done."); done(); }, (error: Error) => say(`Refused: ${plain(error.message, 200)}.`)),
  }, text);
  return { desk, act };
}
