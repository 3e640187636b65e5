import type { Event, Run, Seed } from "./api";
import { count, figure, percent } from "./format";
import { plain } from "./dom";

// The stages in the order of a seed's life, with what a reader of a lane is told.
export const stages: Record<string, string> = {
  GERMINATED: "its kernel is asked for",
  TRAINING: "learns in isolation",
  BLENDING: "is mixed into the output",
  SHADOWING: "in the output, on trial",
  PROBATIONARY: "in the output, on trial",
  FOSSILIZED: "kept",
  CULLED: "taken out",
  EMBARGOED: "its slot rests",
  RESETTING: "its slot is cleaned",
  DORMANT: "its slot is free",
  TERMINATED: "was kept, and ended",
};

export type Fate = "alive" | "kept" | "culled";

const alive = new Set(["GERMINATED", "TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY"]);

export function fateOf(stage: string | undefined): Fate {
  if (stage === "FOSSILIZED") return "kept";
  return stage === undefined || stage === "" || alive.has(stage) ? "alive" : "culled";
}

export const fateSign: Record<Fate, string> = { alive: "\u25cf", kept: "\u2713", culled: "\u2715" };

export function fates(run: Run): Record<Fate, number> {
  const sums = { alive: 0, kept: 0, culled: 0 };
  for (const [stage, n] of Object.entries(run.seeds ?? {})) sums[fateOf(stage)] += n;
  return sums;
}

// stageClass is the class that colours a stage; a stage that is none of ours has no colour.
export function stageClass(stage: string | undefined): string {
  return stage !== undefined && Object.hasOwn(stages, stage) ? "st-" + stage.toLowerCase() : "st-none";
}

// shortSeed is what of a seed's name is not said beside it anyway.
export function shortSeed(seed: { id: string; blueprint?: string }, run: string): string {
  let id = seed.id;
  const prefix = `seed-${run}-`, suffix = `-${seed.blueprint ?? ""}`;
  if (id.startsWith(prefix)) id = id.slice(prefix.length);
  if (seed.blueprint && id.endsWith(suffix)) id = id.slice(0, -suffix.length);
  else if (!seed.blueprint) id = id.replace(/-BP\d{3}$/, "");
  return plain(id || seed.id, 40);
}

export function gateName(name: string): string {
  return plain(name.replace(/_/g, " ").toLowerCase().replace(/^g(\d)/, "G$1"), 48);
}

export function words(text: string | undefined): string {
  return plain((text ?? "").replace(/_/g, " "), 240);
}

const causes: Record<string, string> = {
  validation_stalled: "validation has stalled",
  seed_improved: "the seed has made the model better",
  command: "it was commanded",
};

function because(reason: string | undefined): string {
  return reason ? ": " + (causes[reason] ?? words(reason)) : "";
}

function number(text: string | undefined): number | null {
  return text === undefined || text === "" || Number.isNaN(Number(text)) ? null : Number(text);
}

// evidence is what a gate measured.
export function evidence(details: Record<string, string> | undefined): string {
  const d = details ?? {};
  const parts: string[] = [];
  const before = number(d["loss_before"]), after = number(d["loss_after"]);
  if (before !== null && after !== null) {
    const error = number(d["loss_error"]);
    parts.push(`loss ${figure(before)} without, ${figure(after)} with` + (error === null ? "" : `, \u00b1\u00a0${figure(error)}`));
  }
  for (const [name, value] of Object.entries(d)) {
    if (["loss_before", "loss_after", "loss_error", "passed", "reason", "gate", "blueprint", "slot"].includes(name)) continue;
    parts.push(`${words(name)} ${number(value) === null ? words(value) : figure(number(value))}`);
  }
  return parts.join("; ");
}

const operations: Record<string, string> = {
  GERMINATE: "asked for a seed", START_TRAINING: "asked the seed to train", START_GRAFTING: "asked to blend the seed in",
  STABILIZE: "asked to hold the seed", EVALUATE: "asked to judge the seed", FINE_TUNE: "asked to tune the seed",
  FOSSILIZE: "asked to keep the seed", CULL: "asked to take the seed out", CANCEL: "called the seed off",
  ROLLBACK: "asked to go back to the model before the seed", PAUSE: "asked to pause the seed",
  OPTIMIZER: "changed how the run learns", CIRCUIT_BREAKER: "set the circuit of the run's kernel requests",
  STRUCTURAL_PRUNING: "asked to prune the seed",
};

const orders: Record<string, string> = {
  attach: "attach the kernel and train it in isolation", blend: "blend the seed in", hold: "hold the seed in the output",
  judge: "measure what the seed is worth", keep: "make the seed a layer of the network", tune: "train on with the seed as a layer",
  drop: "take the seed out", reset: "clean the slot", rollback: "go back to the model before",
};

// wanted is what a command asks for: commands that mean the opposite have one name on the bus.
function wanted(name: string, details: Record<string, string>): string {
  if (name === "PAUSE" && /^\s*true\s*$/i.test(details["resume"] ?? "")) return "asked to bring the seed back";
  if (name === "EMERGENCY") return modeOf(details["level"] ?? "");
  return Object.hasOwn(operations, name) ? operations[name]! : `commanded ${words(name).toLowerCase()}`;
}

// modeOf reads a level as trainers do: one that they do not know is conservative.
function modeOf(level: string): string {
  if (/^(EMERGENCY_LEVEL_HALT|4)$/.test(level)) return "halted the run";
  if (/^(EMERGENCY_LEVEL_(UNSPECIFIED|NOTICE|ELEVATED)|[012])$/.test(level)) return "ended the run's emergency";
  return "set the run to conservative mode";
}

// blueprintName is its id with its name, as far as a command tells it.
export function blueprintName(id: string, told: Record<string, string>): string {
  return plain(id, 48) + (told["blueprint_name"] ? ` ${plain(words(told["blueprint_name"]), 48)}` : "");
}

// blueprintOf is what the command that began a seed tells of its blueprint.
export function blueprintOf(seed: Seed, events: Event[]): Record<string, string> {
  const begun = events.filter((e) => e.kind === "command" && e.name === "GERMINATE" && e.details?.["blueprint"] === seed.blueprint);
  return begun.sort((a, b) => a.seq - b.seq)[0]?.details ?? {}; // one that was sent again tells less
}

// blueprintKind says how far a blueprint is trusted, and how large it is.
export function blueprintKind(told: Record<string, string>): string {
  const tier = words(told["blueprint_tier"]).replace("BLUEPRINT TIER ", "").toLowerCase();
  const risk = number(told["blueprint_risk"]), parameters = number(told["blueprint_parameter_count"]);
  return [tier, risk !== null && `risk ${figure(risk)}`, parameters !== null && `${count(parameters)} parameters`].filter(Boolean).join(", ");
}

function command(e: Event): string {
  const d = e.details ?? {};
  const what = wanted(e.name, d);
  const blueprint = d["blueprint"] && e.name === "GERMINATE" ? ` of ${blueprintName(d["blueprint"], d)}` : "";
  const slot = d["slot"] && e.name === "GERMINATE" ? ` behind ${plain(d["slot"], 48)}` : "";
  const stalled = d["risk_reason"] === "validation_stalled" && d["stalled_epochs"] ? ` for ${plain(d["stalled_epochs"], 12)} epochs` : "";
  return `${who(e)} ${what}${blueprint}${slot}${because(d["risk_reason"] ?? d["reason"] ?? d["rationale"])}${stalled}`;
}

function gate(e: Event): string {
  const d = e.details ?? {};
  const measured = evidence(d);
  return `Gate ${gateName(e.name)} ${d["passed"] === "true" ? "opened" : "stayed shut"}${because(d["reason"])}` + (measured ? ` (${measured})` : "");
}

function fieldReport(e: Event): string {
  const d = e.details ?? {};
  const loss = number(d["metric_loss_delta"]), accuracy = number(d["metric_accuracy_delta"]);
  const came: string[] = [];
  if (loss !== null) came.push(`loss ${figure(loss, true)}`);
  if (accuracy !== null) came.push(`accuracy ${accuracy < 0 ? "\u2212" : "+"}${percent(Math.abs(accuracy))}`);
  if (d["window"]) came.push(`over ${plain(d["window"], 12)} epochs`);
  return `Field report on ${plain(d["blueprint"] ?? "the blueprint", 48)}: ${words(e.name).toLowerCase()}` +
    (came.length ? ` (${came.join(", ")})` : "") + (d["notes"] ? `, ${words(d["notes"])}` : "");
}

function stage(e: Event): string {
  const reason = e.details?.["reason"];
  const meaning = Object.hasOwn(stages, e.name) ? `, ${stages[e.name]}` : "";
  return `Seed is ${words(e.name)}${meaning}` + (reason && fateOf(e.name) === "culled" ? because(reason) : "");
}

function letter(e: Event): string {
  const d = e.details ?? {};
  return `${plain(d["by"] ?? "Somebody", 64)} ${e.name === "dead_letter_removed" ? "removed" : "replayed"} dead letter ${plain(d["letter"] ?? "", 48)}` + (d["comment"] ? `: ${words(d["comment"])}` : "");
}

// asked says what somebody wanted of alerts.
function asked(e: Event): string {
  const d = e.details ?? {}, who = plain(d["by"] ?? "Somebody", 64), comment = d["comment"] ? `: ${words(d["comment"])}` : "";
  const about = labelsOf(d);
  if (d["source"]) about.unshift(plain(d["source"], 48));
  const which = (d["rule"] ? words(d["rule"]) : "all alerts") + (about.length ? ` (${about.join(", ")})` : "");
  switch (e.name) {
    case "silence_begun": return `${who} silenced ${which} until ${plain(d["until"] ?? "", 32)}${comment}`;
    case "silence_ended": return `${who} ended silence ${plain(d["silence"] ?? "", 32)}${comment}`;
    default: return `${who} took up ${which}${comment}`;
  }
}

// ends are why an alert ended.
export const ends: Record<string, string> = {
  recovered: "it recovered", quiet: "it did not come again", not_heard_of: "nothing was heard of its subject for long", rule_withdrawn: "its rule is gone",
};

// alert says that one fires or has ended.
function alert(e: Event): string {
  const d = e.details ?? {}, detail = plain(d["detail"] ?? "", 240);
  const of = [d["source"], ...labelsOf(d)].filter(Boolean).map((text) => plain(text!, 80)).join(", ");
  const which = `Alert ${words(d["rule"])}` + (of ? ` of ${of}` : "");
  if (e.name === "alert_resolved") return `${which} has ended: ${Object.hasOwn(ends, detail) ? ends[detail] : detail}`;
  return `${which} fires` + (d["severity"] ? ` (${plain(d["severity"], 12)})` : "") + ": " + [d["summary"], detail].filter(Boolean).map((text) => plain(text!, 240)).join(": ");
}

function labelsOf(details: Record<string, string>): string[] {
  return Object.entries(details).filter(([key]) => key.startsWith("label_")).map(([key, text]) => `${words(key.slice("label_".length))} ${plain(text, 48)}`);
}

// levelOf is how grave an event is: an alert that fires is as grave as its rule says.
export function levelOf(e: Event): string {
  return e.name === "alert_fires" ? e.details?.["severity"] ?? e.level : e.level;
}

// who is the source of an event, as the subject of a sentence.
function who(e: Event): string {
  const source = plain(e.source || "somebody", 48);
  return source.charAt(0).toUpperCase() + source.slice(1);
}

// sentence says an event in plain words.
export function sentence(e: Event): string {
  switch (e.kind) {
    case "command": return command(e);
    case "gate": return gate(e);
    case "field_report": return fieldReport(e);
    case "stage": return stage(e);
    case "order": return `${who(e)} ordered the trainer to ${Object.hasOwn(orders, e.name) ? orders[e.name] : words(e.name)}${because(e.details?.["reason"])}`;
    case "emergency": return `Emergency ${words(e.name).toLowerCase()} from ${plain(e.source || "nobody named", 48)}${because(e.details?.["reason"])}`;
    case "alarm": return `Alarm ${words(e.name)}` + (e.details?.["detail"] ? `: ${words(e.details["detail"])}` : "");
    case "event": if (e.name === "dead_letter_replayed" || e.name === "dead_letter_removed") return letter(e);
      if (["silence_begun", "silence_ended", "alert_acknowledged"].includes(e.name)) return asked(e);
      if (e.name === "alert_fires" || e.name === "alert_resolved") return alert(e);
    // falls through
    default: {
      const d = Object.entries(e.details ?? {}).filter(([key]) => !key.endsWith("_id") && !key.startsWith("artifact") && key !== "checksum");
      const rest = d.slice(0, 5).map(([key, value]) => `${words(key)} ${words(value)}`).join(", ");
      return `${who(e)}: ${words(e.name)}` + (rest ? ` (${rest})` : "");
    }
  }
}

// decides says whether an event belongs to the short feed: what was decided, and what it came to.
export function decides(e: Event): boolean {
  switch (e.kind) {
    case "command": case "field_report": case "emergency": case "alarm": return true;
    case "gate": return e.details?.["passed"] !== "true";
    case "stage": return ["GERMINATED", "BLENDING", "FOSSILIZED", "CULLED", "TERMINATED"].includes(e.name);
    default: return /^(dead_letter|alert|silence)_/.test(e.name) || e.level === "error" || e.level === "critical";
  }
}

// verdict says why a seed is where it is.
export function verdict(seed: Seed, events: Event[]): string {
  const newest = [...events].sort((a, b) => b.seq - a.seq);
  const report = newest.find((e) => e.kind === "field_report");
  const came = report ? ` ${fieldReport(report)}.` : "";
  const ended = fateOf(seed.stage);
  if (ended === "kept") {
    const keep = newest.find((e) => e.kind === "command" && e.name === "FOSSILIZE");
    return "Kept." + (keep ? ` ${command(keep)}.` : "") + came;
  }
  if (ended === "culled") {
    const shut = newest.find((e) => e.kind === "gate" && e.details?.["passed"] !== "true");
    const cull = newest.find((e) => e.kind === "command" && (e.name === "CULL" || e.name === "CANCEL" || e.name === "STRUCTURAL_PRUNING"));
    const why = shut ? ` ${gate(shut)}.` : cull ? ` ${command(cull)}.` : seed.reason ? ` ${words(seed.reason)}.` : "";
    return (seed.stage === "TERMINATED" ? "Was kept, and ended." : "Taken out.") + why + came;
  }
  const meaning = seed.stage && Object.hasOwn(stages, seed.stage) ? `: ${stages[seed.stage]}` : "";
  const shut = newest.find((e) => e.kind === "gate");
  return `On its way${meaning}.` + (shut ? ` ${gate(shut)}.` : "");
}
