// Runs as a large site has them, as the lines that Nissa imports.
import { createWriteStream } from "node:fs";
import { once } from "node:events";

const minute = 60_000;

// hostile are names that somebody may put on the bus.
export const hostile = [
  "<script>window.struck=1</script>", "\"><img src=x onerror=window.struck=1>", "<svg/onload=window.struck=1>", "javascript:window.struck=1",
  "'-window.struck=1-'", "{{window.struck=1}}", "\u202eevil\u202c\u2066run\u2069", "one\ntwo\r\nthree\u0000", "../../etc/passwd", "a/b?c#d&e=%2F%zz",
  "\u{1f4a5}\u0301\u0301\u0301\u0301 zalgo", "__proto__", "constructor", "</textarea><iframe src=//example.org>", "&lt;b&gt;&#x3C;", "N".repeat(500),
  "M".repeat(1 << 20), // the bus refuses it
  ".", "..", // no path leads to a run of such a name, so that there is none
];

function lifeOf(seed, epochs, grows) {
  const begin = Math.floor((seed * epochs) / 110), kept = seed % 3 === 0;
  const stages = [["GERMINATED", 0], ["TRAINING", 1], ["BLENDING", 6], ["SHADOWING", 10], ["PROBATIONARY", 12], kept ? ["FOSSILIZED", 15] : ["CULLED", 14]];
  if (grows) stages.length = 1 + grows;
  return { kept: kept && !grows, grows, stages: stages.map(([stage, after]) => ({ stage, epoch: Math.min(begin + after, epochs - 1) })) };
}

function* runLines(name, number, { epochs, seeds, detailed }) {
  const begin = Date.now() - (epochs + 1 + number) * minute;
  const at = (epoch) => new Date(begin + epoch * minute).toISOString();
  const noise = (epoch) => Math.sin(epoch * 12.9898 + number * 78.233) * 0.02;
  const step = (number * 37) % 90; // at which something grew in
  const loss = (epoch) => 2 * Math.exp(-epoch / (8 + (number % 9) * 4)) + 0.35 - (epoch > step ? 0.12 : 0) + noise(epoch) + (number % 11) / 100;
  const lives = Array.from({ length: seeds }, (_, i) => lifeOf(i, epochs, i >= seeds - (number % 4) ? 1 + ((number + i) % 3) : 0));
  const sum = {};
  for (const life of lives) sum[life.stages.at(-1).stage] = (sum[life.stages.at(-1).stage] ?? 0) + 1;
  yield { run: {
    id: name, experiment: number === 199 ? "<script>" + "E".repeat(100_000) : ["digits", "cifar-small", "speech", "sorting"][number % 4], source: "tolaria", first_at: at(0), last_at: at(epochs), kept_from: at(0), trainer: "t", reported_at: at(epochs), reports: epochs, epoch: epochs,
    step: epochs * 10, loss: loss(epochs), accuracy: 0.5 + (number % 50) / 100, best_loss: 0.2, halted: number % 40 === 3, seeds: sum, slots: { hidden: [16] },
    spark: { loss: Array.from({ length: 40 }, (_, i) => loss((i * epochs) / 40)), stride: 3, seen: epochs }, bytes: 1000,
  } };
  const id = (i) => `seed-${name}-${i}-BP0${10 + (i % 40)}`;
  for (let i = 0; i < seeds; i++) {
    const last = lives[i].stages.at(-1);
    yield { seed: {
      run: name, id: id(i), blueprint: `BP0${10 + (i % 40)}`, slot: "hidden", kernel: "ab".repeat(32), stage: last.stage, stage_at: at(last.epoch), alpha: lives[i].kept ? 1 : 0, paused: false,
      first_at: at(lives[i].stages[0].epoch), last_at: at(last.epoch), reason: lives[i].kept || lives[i].grows ? "" : "impact regressed", outcome: "", kasmina: true,
    } };
  }
  for (let epoch = 0; epoch <= epochs; epoch++) {
    yield { report: { run: name, at: at(epoch), trainer: "t", number: epoch, epoch, step: epoch * 10, loss: loss(epoch), accuracy: 1 - loss(epoch) / 3, train_loss: loss(epoch) * 0.9,
      host_loss: epoch > 40 ? loss(epoch) * 1.1 : null, host_accuracy: null, baseline_loss: loss(epoch) * 1.2, baseline_accuracy: null, metrics: {} } };
  }
  for (let i = 0; i < seeds; i++) {
    const [first] = lives[i].stages;
    if (detailed) {
      for (let k = 0; k < 20; k++) {
        yield { point: { run: name, seed: id(i), at: at(first.epoch + k), epoch: first.epoch + k, step: 0, stage: "TRAINING", alpha: Math.min(1, Math.max(0, (k - 6) / 5)), metrics: {} } };
      }
    }
    const event = (kind, epoch, what, details) => ({ event: { run: name, seed: id(i), at: at(epoch), kind, name: what, source: kind === "command" ? "tamiyo" : "kasmina", level: "info", details } });
    yield event("command", first.epoch, "GERMINATE", { blueprint: `BP0${10 + (i % 40)}`, blueprint_name: "grouped_conv", blueprint_tier: "BLUEPRINT_TIER_SAFE",
      blueprint_risk: "0.40", blueprint_stage: "1", blueprint_parameter_count: "12576", slot: "hidden", risk_reason: "validation_stalled", stalled_epochs: "8" });
    for (const { stage, epoch } of lives[i].stages) yield event("stage", epoch, stage, {});
    yield event("gate", first.epoch + 1, "G3_INTERFACE", { passed: "true" });
    if (!lives[i].grows) yield event("gate", lives[i].stages.at(-1).epoch, "G4_SYSTEM_IMPACT", { passed: String(lives[i].kept), loss_before: "0.2", loss_after: "0.19", loss_error: "0.004", reason: "" });
  }
}

async function write(path, lines) {
  const file = createWriteStream(path);
  let text = "";
  for (const line of lines) {
    text += JSON.stringify(line) + "\n";
    if (text.length > 1 << 16) {
      if (!file.write(text)) await once(file, "drain");
      text = "";
    }
  }
  file.end(text);
  await once(file, "finish");
}

export async function large(path, runs, seeds) {
  await write(path, (function* () {
    for (let n = 0; n < runs; n++) {
      const run = `large-${String(n).padStart(3, "0")}`;
      let lines = 0;
      for (const line of runLines(run, n, { epochs: 120, seeds, detailed: n === 0 })) {
        yield line;
        lines++;
      }
      yield { end: { run, lines } };
    }
  })());
}
