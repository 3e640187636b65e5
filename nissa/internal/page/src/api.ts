// What Nissa serves under /api, as far as the page looks at it; /api/openapi.json says all.

export type Maybe = number | null;

export interface Run {
  id: string; experiment?: string; source?: string; trainer?: string; state: "running" | "conservative" | "silent" | "halted";
  emergency?: string; emergency_reason?: string;
  first_at: string; last_at: string; kept_from: string; reported_at?: string;
  reports: number; epoch: number; step: number; loss: Maybe; accuracy: Maybe; best_loss: Maybe; halted: boolean;
  seeds?: Record<string, number>; slots?: Record<string, number[]>; spark: { loss: Maybe[] | null; stride: number; seen: number }; bytes: number;
}

export interface Report {
  seq: number; run: string; at: string; trainer?: string; epoch: number; step: number;
  loss: Maybe; accuracy: Maybe; train_loss: Maybe; host_loss: Maybe; host_accuracy: Maybe;
  baseline_loss: Maybe; baseline_accuracy: Maybe; metrics?: Record<string, Maybe>;
}

export interface Interval { stage: string; from: string; to: string | null }

export interface Seed {
  run: string; id: string; blueprint?: string; slot?: string; kernel?: string; stage?: string; stage_at?: string;
  alpha: Maybe; paused: boolean; first_at: string; last_at: string; reason?: string; outcome?: string; stages: Interval[] | null;
}

export interface Point { at: string; epoch: number; step: number; stage: string; alpha: Maybe; metrics?: Record<string, Maybe> }

export interface Event {
  seq: number; run?: string; seed?: string; at: string; kind: string; name: string; source?: string; level: string;
  details?: Record<string, string>;
}

export interface Alarm { name: string; subject?: string; severity?: string; since?: string; last_at: string; detail?: string; raised: boolean }

export interface Figure { name: string; value: Maybe; unit?: string; labels?: Record<string, string> }

export interface Source {
  name: string; first_at: string; last_at: string; packets: number; health?: string; summary?: string;
  indicators?: Record<string, string>; figures?: Figure[] | null;
}

export interface Store { runs: number; bytes: number; max_bytes: number; retention_seconds: number; head: number }

export interface Alert {
  id: string; rule: string; source: string; labels?: Record<string, string>; state: string; severity?: string; summary?: string;
  detail?: string; value?: Maybe; since?: string; ended?: string; reason?: string; silenced_by?: string[]; ack?: { by: string; comment?: string } | null;
}

export interface Objective {
  name: string; summary: string; target: number; window: string; total: number; bad: number;
  attained?: number; budget_left?: number; burn_rates?: Record<string, number>; burning?: string[];
}

// Refusal is an answer that is none.
export class Refusal extends Error {
  constructor(readonly status: number, text: string) {
    super(text);
  }
}

export interface Letter {
  id: string; time: string; stream: string; group: string; type: string; reason: string; error: string; attempts: number; bytes: number; replayed?: string; refused?: string;
}

export interface LetterDetails extends Letter { message?: unknown; unreadable?: string; attributes?: Record<string, string>; payload: string }

// fires says whether an alert is one that nobody keeps from being told.
export function fires(a: Alert): boolean {
  return a.state === "firing" && !a.silenced_by?.length;
}

// trains says whether a trainer reports for the run, and goes on.
export function trains(run: Run): boolean {
  return run.state === "running" || run.state === "conservative";
}

// goesOn notes that a run was reported of.
export function goesOn(run: Run): void {
  if (!run.halted) run.state = run.emergency ? "conservative" : "running";
}

// operator is who asks for a change. The token is kept for as long as the page is open, and
// sent to this Nissa alone.
export const operator = { token: "", by: "" };

export function authorization(): Record<string, string> {
  return operator.token ? { Authorization: `Bearer ${operator.token}` } : {};
}

// change asks for one.
export async function change(method: string, path: string, body: Record<string, unknown> = {}): Promise<void> {
  const response = await fetch(path, {
    method, headers: { "Content-Type": "application/json", ...authorization() }, body: JSON.stringify({ by: operator.by, ...body }), signal: AbortSignal.timeout(10_000),
  });
  if (response.ok) return;
  const said = await response.json().catch(() => ({})) as { error?: string };
  throw new Refusal(response.status, said.error ?? response.statusText);
}

// get asks for JSON. An answer that is too late is none.
export async function get<T>(path: string, parameters: Record<string, string | number | undefined> = {}): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  const response = await fetch(path + (text ? "?" + text : ""), { headers: authorization(), signal: AbortSignal.timeout(20_000) });
  const body: unknown = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, String((body as { error?: string }).error ?? response.statusText));
  return body as T;
}

// sources asks for those that a page can show, page by page, and says whether there are more.
export async function sources(path: string): Promise<{ sources: Source[]; more: boolean }> {
  const all: Source[] = [];
  let after: string | null = "";
  for (let pages = 0; after !== null && pages < 10; pages++) {
    const page: { sources: Source[]; next: string | null } = await get(path, { limit: 100, after: after || undefined });
    all.push(...page.sources);
    after = page.next;
  }
  return { sources: all, more: after !== null };
}

// blob asks for what is saved as a file. A link of the browser's cannot send a token.
export async function blob(path: string): Promise<Blob> {
  const response = await fetch(path, { headers: authorization() });
  if (!response.ok) throw new Refusal(response.status, response.statusText);
  return response.blob();
}

export function runPath(run: string, ...rest: string[]): string {
  return ["/api/runs", ...[run, ...rest].map(encodeURIComponent)].join("/");
}

// does says whether this Nissa does something, as its page tells.
export function does(what: string): boolean {
  return document.querySelector<HTMLMetaElement>('meta[name="nissa"]')?.content.split(" ").includes(what) ?? false;
}

// optional is null when this Nissa does not do that, or does it for whoever has the token.
export async function optional<T>(what: string, path: string): Promise<T | null> {
  if (!does(what)) return null;
  return get<T>(path).catch((error: unknown) => {
    if (error instanceof Refusal && error.status === 401) return null;
    throw error;
  });
}
