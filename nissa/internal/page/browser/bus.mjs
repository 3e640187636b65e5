// A sender of its own: what it puts on the bus is encoded here, by the contract, so that
// nothing of ours keeps it from being hostile.
import { createHmac } from "node:crypto";
import net from "node:net";

function varint(value) {
  const bytes = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 128n) {
      bytes.push(Number(rest));
      return Buffer.from(bytes);
    }
    bytes.push(Number(rest & 127n) | 128);
  }
}

const block = (field, content) => {
  const bytes = Buffer.isBuffer(content) ? content : Buffer.from(content);
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
};
const integer = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const float = (field, value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | 5), bytes]);
};
const double = (field, value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return Buffer.concat([varint((field << 3) | 1), bytes]);
};
const texts = (field, map) => Object.entries(map).map(([k, v]) => block(field, Buffer.concat([block(1, k), block(2, v)])));
const floats = (field, map) => Object.entries(map).map(([k, v]) => block(field, Buffer.concat([block(1, k), float(2, v)])));

export const stages = ["UNKNOWN", "DORMANT", "GERMINATED", "TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY", "FOSSILIZED", "CULLED", "EMBARGOED"];

let packets = 0;

// report is a SystemStatePacket.
export function report({ run, epoch, loss, accuracy = 0.5, experiment = "", source = "tolaria", seeds = [], metrics = {} }) {
  return { type: 1, payload: Buffer.concat([
    integer(2, epoch), float(3, accuracy), float(4, loss), ...floats(7, metrics),
    ...seeds.map((s) => block(8, Buffer.concat([block(1, s.id), integer(2, stages.indexOf(s.stage)), ...floats(6, s.metrics ?? {})]))),
    block(9, `browser-${process.pid}-${++packets}`), integer(10, epoch * 10), float(11, loss), block(12, source), block(13, run), block(14, experiment),
  ]) };
}

// telemetry is a TelemetryPacket with events and metrics, about a run and a seed when they are named.
export function telemetry({ source, events = [], metrics = {}, indicators = {}, summary = "", health = 0 }) {
  const now = Date.now();
  return { type: 4, payload: Buffer.concat([
    block(1, `browser-${process.pid}-${++packets}`), block(2, Buffer.concat([integer(1, Math.floor(now / 1000)), integer(2, (now % 1000) * 1e6)])), block(3, source),
    ...Object.entries(metrics).map(([name, value]) => block(10, Buffer.concat([block(1, name), double(2, value)]))),
    ...events.map((e) => block(20, Buffer.concat([block(1, e.name), block(2, e.name), integer(3, 1), ...texts(4, e.attributes ?? {})]))),
    block(40, Buffer.concat([integer(1, health), block(2, summary), ...texts(3, indicators)])),
  ]) };
}

// Bus sends signed entries to a Redis.
export class Bus {
  constructor(port, secret) {
    this.secret = secret;
    this.socket = net.connect(port, "127.0.0.1");
    this.waiting = [];
    this.socket.on("data", (data) => {
      // One answer is one line here, or two when it is a bulk text.
      for (const line of data.toString().split("\r\n")) if (/^[:+-]/.test(line) || /^\d+-\d+$/.test(line)) this.waiting.shift()?.(line);
    });
    this.socket.on("error", () => undefined);
  }

  command(...words) {
    const parts = words.map((w) => (Buffer.isBuffer(w) ? w : Buffer.from(String(w))));
    this.socket.write(Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...parts.flatMap((p) => [Buffer.from(`$${p.length}\r\n`), p, Buffer.from("\r\n")])]));
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async send(message, stream = message.type === 4 ? "oona.telemetry" : "oona.normal") {
    const envelope = Buffer.concat([integer(1, message.type), block(2, message.payload)]);
    const signature = createHmac("sha256", this.secret).update(envelope).digest("base64");
    const answer = await this.command("XADD", stream, "*", "payload", envelope, "signature", signature);
    if (answer.startsWith("-")) throw new Error(answer);
  }

  close() {
    this.socket.destroy();
  }
}
