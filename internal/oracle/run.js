// Runs ONNX files through ONNX Runtime. The argument is a folder with
// cases.json, a list of {name, shape, timed}, and for each case <name>.onnx and
// <name>.input (little-endian float32). Writes <name>.runtime (float32, as the
// input) and answers.json, a list of {name, shape, error, milliseconds}.
"use strict";

const fs = require("fs");
const path = require("path");
const { InferenceSession, Tensor } = require("onnxruntime-node");

const timedRuns = 31;

function floats(file) {
  const bytes = fs.readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

async function median(session, feeds) {
  const samples = [];
  for (let i = 0; i < timedRuns; i++) {
    const start = process.hrtime.bigint();
    await session.run(feeds);
    samples.push(Number(process.hrtime.bigint() - start) / 1e6);
  }
  return samples.sort((a, b) => a - b)[timedRuns >> 1];
}

async function answer(folder, one) {
  const at = (kind) => path.join(folder, `${one.name}.${kind}`);
  const session = await InferenceSession.create(at("onnx"), { logSeverityLevel: 3 });
  const feeds = { host: new Tensor("float32", floats(at("input")), one.shape) };
  const { seed } = await session.run(feeds);
  const data = seed.data;
  fs.writeFileSync(at("runtime"), Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  const milliseconds = one.timed ? await median(session, feeds) : 0;
  await session.release();
  return { name: one.name, shape: seed.dims, milliseconds };
}

async function main(folder) {
  const cases = JSON.parse(fs.readFileSync(path.join(folder, "cases.json")));
  const answers = [];
  for (const one of cases) {
    try {
      answers.push(await answer(folder, one));
    } catch (error) {
      answers.push({ name: one.name, error: String(error) });
    }
  }
  fs.writeFileSync(path.join(folder, "answers.json"), JSON.stringify(answers));
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
