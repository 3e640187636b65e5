"""A trainer in another process, written from docs/trainers.md alone.

It has Python's standard library and the bindings that protoc makes of
leyline.proto. Its training is made up: seeds of some blueprints lower the
loss, those of others raise it. What it says and does on the bus is not.

It prints one JSON object a line for whatever happens.

usage: trainer_peer.py --bindings FOLDER --secret TEXT --redis HOST:PORT --run ID [...]
       trainer_peer.py --bindings FOLDER --vectors FOLDER
"""

import argparse
import base64
import collections
import hashlib
import hmac
import json
import math
import os
import queue
import secrets
import socket
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

NORMAL, TELEMETRY = "oona.normal", "oona.telemetry"
TYPE_STATE, TYPE_COMMAND, TYPE_TELEMETRY = 1, 2, 4
FRESH_MS, SKEW_MS = 120_000, 5_000
MAX_KERNEL = 16 << 20
SEED_LIMIT = 64

TRAINING, BLENDING, SHADOWING, PROBATIONARY, FOSSILIZED = 3, 4, 5, 6, 7
OPERATIONS = {1: "attach", 2: "train", 3: "blend", 4: "hold", 5: "judge", 6: "tune", 7: "keep", 8: "drop", 9: "drop"}
# Order: stages in which it is carried out, and the stage afterwards.
STEPS = {
    "blend": ({TRAINING, BLENDING}, BLENDING),
    "hold": ({BLENDING, SHADOWING}, SHADOWING),
    "judge": ({SHADOWING, PROBATIONARY}, PROBATIONARY),
    "keep": ({PROBATIONARY, FOSSILIZED}, FOSSILIZED),
    "tune": ({FOSSILIZED}, FOSSILIZED),
    "train": ({TRAINING}, TRAINING),
}
UNREACHABLE, MISMATCH, BLEND, NO_ROOM = 1, 2, 7, 8

leyline = None  # the bindings, once they are loaded
printing = threading.Lock()


def say(event, **what):
    with printing:
        print(json.dumps({"event": event, **what}), flush=True)


# --- the bus ---


class Refused(Exception):
    """A message that is dropped; its text is the reason."""


class Redis:
    """RESP2 over one connection."""

    def __init__(self, address, user, password):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        if password:
            self.do(*(["AUTH", user, password] if user else ["AUTH", password]))

    def do(self, *args):
        parts = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]
        self.socket.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.read()

    def read(self):
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise OSError("the connection is closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise OSError(rest.decode(errors="replace"))
        if kind == b"+":
            return rest
        size = int(rest)
        if kind == b":":
            return size
        if size < 0:
            return None
        if kind == b"$":
            body = self.stream.read(size + 2)
            if len(body) != size + 2:
                raise OSError("the connection is closed")
            return body[:-2]
        return [self.read() for _ in range(size)]

    def close(self):
        self.socket.close()


def signature_of(secret, data):
    return base64.b64encode(hmac.new(secret.encode(), data, hashlib.sha256).digest())


def seal(secret, stream, kind, message, attributes, now_ms):
    """The two fields of an entry."""
    envelope = leyline.BusEnvelope(message_type=kind, payload=message.SerializeToString())
    for name, text in attributes.items():
        envelope.attributes[name] = text
    if attributes:  # a peer of the prototype signs none of these
        envelope.attributes["key_id"] = hmac.new(secret.encode(), b"weatherlight key id", hashlib.sha256).hexdigest()[:8]
        envelope.attributes["stream"] = stream
        envelope.attributes["issued_at_ms"] = str(now_ms)
        envelope.attributes["nonce"] = secrets.token_hex(8)
    data = envelope.SerializeToString()
    return data, signature_of(secret, data)


def open_order(secret, stream, entry_id, fields):
    """The command of an entry of an order stream."""
    data, signature = fields.get(b"payload"), fields.get(b"signature", b"")
    if data is None:
        raise Refused("undecodable")
    if not signature:
        raise Refused("unsigned")
    if not hmac.compare_digest(signature_of(secret, data), signature):
        raise Refused("bad_signature")
    try:
        envelope = leyline.BusEnvelope.FromString(data)
    except Exception as error:  # protobuf's own
        raise Refused("undecodable") from error
    attributes = envelope.attributes
    if not all(attributes.get(name) for name in ("stream", "issued_at_ms", "nonce")):
        raise Refused("unbound")
    if attributes["stream"] != stream:
        raise Refused("foreign_stream")
    if envelope.message_type != TYPE_COMMAND:
        raise Refused("wrong_type")
    try:
        age = int(entry_id.split("-")[0]) - int(attributes["issued_at_ms"])
    except ValueError as error:
        raise Refused("unbound") from error
    if age > FRESH_MS:
        raise Refused("stale")
    if age < -SKEW_MS:
        raise Refused("future")
    try:
        return leyline.AdaptationCommand.FromString(envelope.payload)
    except Exception as error:
        raise Refused("undecodable") from error


def signed_bytes(command):
    """What the signature of a command covers."""
    bare = leyline.AdaptationCommand()
    bare.CopyFrom(command)
    bare.annotations.pop("signature", None)
    return bare.SerializeToString(deterministic=True)


# --- blending and ramps ---


def number(text, fallback):
    try:
        value = float(text)
    except ValueError:
        return fallback
    if not math.isfinite(value):
        raise Refused("blend")
    return value


def clamp(x, low=0.0, top=1.0):
    return min(max(x, low), top)


def has_numbers(annotations):
    """Whether confidence_logits is a list of finite numbers."""
    try:
        logits = [float(value) for value in json.loads(annotations.get("confidence_logits", ""))]
    except (TypeError, ValueError):
        return False
    return bool(logits) and all(map(math.isfinite, logits))


class Blend:
    def __init__(self, annotations):
        self.mode = annotations.get("blend_mode", "").strip().upper() or "CONVEX"
        if self.mode not in ("CONVEX", "RESIDUAL", "CHANNEL", "CONFIDENCE"):
            raise Refused("blend")
        self.channels, self.k, self.tau, self.low, self.top = [], 4.0, 0.2, 0.0, 1.0
        if self.mode == "CHANNEL":
            self.read_channels(annotations)
        if self.mode == "CONFIDENCE":
            if annotations.get("confidence_logits_required", "").strip().lower() == "true" and not has_numbers(annotations):
                raise Refused("blend")
            self.k = max(number(annotations.get("gate_k", ""), 4.0), 0.0)
            self.tau = max(number(annotations.get("gate_tau", ""), 0.2), 0.0)
            self.low = clamp(number(annotations.get("alpha_lo", ""), 0.0))
            self.top = clamp(number(annotations.get("alpha_hi", ""), 1.0))
            self.low, self.top = min(self.low, self.top), max(self.low, self.top)

    def read_channels(self, annotations):
        text = annotations.get("alpha_vec", "").strip()
        try:
            values = json.loads(text) if text.startswith("[") else text.split(",")
            numbers = [float(value) for value in values]
        except (TypeError, ValueError) as error:
            raise Refused("blend") from error
        if not all(map(math.isfinite, numbers)):
            raise Refused("blend")
        self.channels = [clamp(value) for value in numbers]
        announced = annotations.get("alpha_vec_len", "").strip()
        if not 0 < len(self.channels) <= 64 or announced and announced != str(len(self.channels)):
            raise Refused("blend")

    def fits(self, shape):
        """Whether a slot has what the mode goes by: channels behind the batch, or two entries to compare."""
        return {"CHANNEL": shape[0] == len(self.channels), "CONFIDENCE": shape[0] > 1}.get(self.mode, True)

    def mix(self, alpha, host, seed):
        """One example of features: host and seed are lists."""
        alpha = clamp(alpha)
        if self.mode == "RESIDUAL":
            return [h + alpha * s for h, s in zip(host, seed)]
        shares = [alpha] * len(host)
        if self.mode == "CHANNEL":
            shares = [clamp(alpha * channel) for channel in self.channels]
        if self.mode == "CONFIDENCE":
            best, second = sorted(seed, reverse=True)[:2]
            gate = 1 / (1 + math.exp(-self.k * (best - second - self.tau)))
            shares = [clamp(alpha * gate, self.low, self.top)] * len(host)
        return [e * s + (1 - e) * h for e, h, s in zip(shares, host, seed)]


class Ramp:
    def __init__(self, annotations):
        def steps(name, fallback):
            text = annotations.get(name, "")
            return int(text) if text else fallback

        self.shape = annotations.get("alpha_schedule", "") or "sigmoid"
        self.steps = steps("alpha_steps", 20)
        self.warm_up = steps("alpha_warmup_steps", 0)
        self.hold = steps("alpha_hold_steps", 0)
        self.temperature = float(annotations.get("alpha_temperature", "") or 2)
        counts = (self.steps, self.warm_up, self.hold)
        if self.shape not in ("sigmoid", "linear", "cosine") or min(counts) < 0 or max(counts) > 1 << 24:
            raise Refused("ramp")
        if not 0 < self.temperature < math.inf:
            raise Refused("ramp")

    def share(self, step):
        step -= self.warm_up
        if step < 0:
            return 0.0
        if self.steps <= 0:
            return 1.0
        if self.warm_up and step == 0:
            return 0.0
        part = min(step / self.steps, 1.0)
        if self.shape == "linear":
            return part
        if self.shape == "cosine":
            return (1 - math.cos(math.pi * part)) / 2
        return (1 + math.tanh((step - self.steps / 2) / max(self.temperature, 1e-6) / 2)) / 2

    def done(self, step):
        return step >= self.warm_up + self.steps + self.hold


# --- the graft ---


class Seed:
    """One grafted seed. Everything in it can be written as JSON."""

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def ramp(self):
        return Ramp(self.annotations)

    def alpha(self):
        if self.paused or self.stage <= TRAINING:
            return 0.0
        return self.ramp().share(self.alpha_steps) if self.stage == BLENDING else 1.0


class Graft:
    """What is grafted, and what orders do to it. It does no I/O."""

    def __init__(self, secret, run, trainer_id, slots, accepts=()):
        self.secret, self.run, self.trainer_id, self.slots, self.accepts = secret, run, trainer_id, slots, accepts
        self.order_read, self.run_order, self.halted = 0, 0, False
        self.seeds, self.failed, self.waiting = {}, {}, {}
        self.dropped, self.hyperparameters = collections.Counter(), {}

    def stream(self):
        plain = self.run and len(self.run) <= 128 and all(c.isascii() and (c.isalnum() or c in "._-") for c in self.run)
        return "oona.run." + (self.run if plain else hashlib.sha256(self.run.encode()).hexdigest())

    def take(self, command, read_at=None):
        """Carries out one command. It returns the attach whose kernel is to be fetched, if any."""
        self.check(command)
        annotations = command.annotations
        self.order_read = int(annotations["order"])
        if command.execution_deadline_ms and read_at is not None:
            if (time.monotonic() - read_at) * 1000 > command.execution_deadline_ms:
                raise Refused("late")
        kind = self.kind(command)
        say("order", number=self.order_read, kind=kind, seed=command.target_seed_id)
        if kind == "attach":
            return self.attach(command)
        getattr(self, "on_" + kind, self.on_step)(command, kind)
        return None

    def check(self, command):
        signature = command.annotations.get("signature", "")
        if not signature:
            raise Refused("signature")
        if not hmac.compare_digest(signature_of(self.secret, signed_bytes(command)), signature.encode()):
            raise Refused("signature")
        annotations = command.annotations
        if command.issued_by != "kasmina" or not annotations.get("order"):
            raise Refused("not_an_order")
        if annotations.get("training_run_id", "") != self.run:
            raise Refused("other_run")
        if annotations.get("trainer_id", "") != self.trainer_id:
            raise Refused("other_trainer")
        if not annotations["order"].isdigit() or int(annotations["order"]) <= self.order_read:
            raise Refused("number")

    def kind(self, command):
        if command.command_type == leyline.COMMAND_SEED:
            kind = OPERATIONS.get(command.seed_operation.operation)
        elif command.command_type == leyline.COMMAND_PAUSE:
            kind = "resume" if command.annotations.get("resume", "").strip().lower() == "true" else "pause"
        else:
            kind = {
                leyline.COMMAND_OPTIMIZER: "optimizer",
                leyline.COMMAND_ROLLBACK: "rollback",
                leyline.COMMAND_EMERGENCY: "emergency",
            }.get(command.command_type)
        if kind is None:
            raise Refused("not_understood")
        if kind == "optimizer" and kind not in self.accepts:
            raise Refused("not_accepted")
        return kind

    def attach(self, command):
        seed_id, annotations = command.target_seed_id, dict(command.annotations)
        self.failed.pop(seed_id, None)
        there = self.seeds.get(seed_id)
        if there and (there.checksum, there.slot) == (annotations.get("checksum"), annotations.get("slot", "")):
            there.order = there.attached_by = self.order_read  # it was attached before; all that is new is the number
            return None
        seed = Seed(
            id=seed_id, slot=annotations.get("slot", ""), blueprint=command.seed_operation.blueprint_id,
            checksum=annotations.get("checksum", ""), order=self.order_read, attached_by=self.order_read,
            annotations={k: v for k, v in annotations.items() if k.startswith(("alpha_", "blend_", "gate_"))},
            ref=annotations.get("artifact_ref", ""), url=annotations.get("artifact_url", ""),
            stage=TRAINING, alpha_steps=0, paused=False, tuned=False, age=0, joined=0,
        )
        if there and there.stage == FOSSILIZED:  # it is part of the model
            return self.fail(seed, NO_ROOM)
        self.seeds.pop(seed_id, None)  # another kernel is a new life
        if seed.slot not in self.slots or len(self.seeds) >= SEED_LIMIT:
            return self.fail(seed, NO_ROOM)
        try:
            fits = Blend(annotations).fits(self.slots[seed.slot])
            seed.ramp()
        except (Refused, ValueError):
            fits = False
        if not fits:
            return self.fail(seed, BLEND)
        self.waiting[seed_id] = seed
        return seed

    def fail(self, seed, reason):
        self.waiting.pop(seed.id, None)
        self.failed[seed.id] = {"order": seed.order, "attach_failed": 1, "attach_reason": reason}
        say("attach_failed", seed=seed.id, order=seed.order, reason=reason)

    def fetched(self, seed, content, reason):
        """The kernel of an attach has come, or cannot be had."""
        if self.waiting.get(seed.id) is not seed:
            return  # it was dropped, or asked for again, in the meantime
        if content is None:
            return self.fail(seed, reason)
        if hashlib.sha256(content).hexdigest() != seed.checksum:
            return self.fail(seed, MISMATCH)
        del self.waiting[seed.id]
        self.seeds[seed.id] = seed
        say("attached", seed=seed.id, blueprint=seed.blueprint, order=seed.order)

    def on_step(self, command, kind):
        allowed, stage = STEPS[kind]
        seed = self.attached(command)
        if seed.stage not in allowed:
            raise Refused("stage")
        if kind == "blend" and seed.stage == TRAINING:
            seed.alpha_steps, seed.joined = 1, self.order_read
        seed.stage, seed.order = stage, self.order_read
        seed.tuned = seed.tuned or kind == "tune"
        say("stage", seed=seed.id, stage=leyline.SeedLifecycleStage.Name(stage))

    def attached(self, command):
        self.failed.pop(command.target_seed_id, None)
        if command.target_seed_id not in self.seeds:
            raise Refused("no_such_seed")
        return self.seeds[command.target_seed_id]

    def on_drop(self, command, _):
        seed = self.seeds.get(command.target_seed_id)
        if seed and seed.stage == FOSSILIZED:
            self.back_before(seed)
        self.remove(command.target_seed_id)

    def on_rollback(self, command, _):
        seed_id = command.rollback_payload.fields["seed_id"].string_value
        if seed_id in self.seeds:
            self.back_before(self.seeds[seed_id])
        self.remove(seed_id)

    def back_before(self, seed):
        """The model as it was before a seed joined it: those that joined later go too."""
        for other in list(self.seeds.values()):
            if seed.joined and other.joined > seed.joined:
                self.remove(other.id)

    def remove(self, seed_id):
        for those in (self.seeds, self.failed, self.waiting):
            those.pop(seed_id, None)
        say("dropped", seed=seed_id)

    def on_pause(self, command, kind):
        seed = self.attached(command)
        if seed.stage == FOSSILIZED:
            raise Refused("stage")
        seed.paused, seed.order = kind == "pause", self.order_read

    on_resume = on_pause

    def on_optimizer(self, command, _):
        self.hyperparameters.update(command.optimizer_adjustment.hyperparameters)
        self.run_order = self.order_read

    def on_emergency(self, command, _):
        text = command.annotations.get("level", "")
        levels = dict(leyline.EmergencyLevel.items())
        level = levels.get(text, int(text) if text in ("0", "1", "2", "3", "4") else leyline.EMERGENCY_LEVEL_CONSERVATIVE)
        if level >= leyline.EMERGENCY_LEVEL_CONSERVATIVE:
            for seed in self.seeds.values():
                if seed.stage != FOSSILIZED:  # a kept seed is a layer like any other
                    seed.paused = True
        self.halted, self.run_order = level >= leyline.EMERGENCY_LEVEL_HALT, self.order_read

    def train(self, steps):
        for seed in self.seeds.values():
            if seed.stage == BLENDING and not seed.paused:
                seed.alpha_steps += steps

    def attributes(self, report, resumes, host_layers, access):
        grafts = {
            s.id: {"slot": s.slot, "blueprint": s.blueprint, "checksum": s.checksum, "order": s.attached_by}
            for s in self.seeds.values()
        }
        attributes = {
            "trainer_protocol": "1", "trainer_id": self.trainer_id, "report": str(report),
            "order_read": str(self.order_read), "grafts": json.dumps(grafts), "host_layers": json.dumps(host_layers),
            "slots": json.dumps(self.slots), "kernel_access": json.dumps(access),
        }
        if resumes:
            attributes["trainer_resumes"] = resumes
        if self.accepts:
            attributes["accepts"] = json.dumps(list(self.accepts))
        return attributes

    def states(self, evidence):
        """The seed states of a report; evidence measures one seed."""
        states = []
        for seed in self.seeds.values():
            metrics = {"order": seed.order, "alpha": seed.alpha(), "alpha_steps": seed.alpha_steps, **evidence(seed)}
            if seed.paused:
                metrics["paused"] = 1
            states.append(leyline.SeedState(
                seed_id=seed.id, stage=seed.stage, age_epochs=seed.age, metrics=metrics,
                gradient_norm=metrics.get("gradient_norm", 0.0),
            ))
        for seed_id, metrics in self.failed.items():
            states.append(leyline.SeedState(seed_id=seed_id, metrics=metrics))
        return states

    def saved(self):
        return {
            "trainer_id": self.trainer_id, "order_read": self.order_read, "run_order": self.run_order,
            "seeds": [dict(seed.__dict__) for seed in self.seeds.values()],
        }

    def restore(self, saved):
        self.order_read, self.run_order = saved["order_read"], saved["run_order"]
        self.seeds = {fields["id"]: Seed(**fields) for fields in saved["seeds"]}


# --- kernels ---


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def origin_of(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


class Kernels:
    def __init__(self, access, origin, token):
        self.access, self.origin, self.token = access, origin, token

    def fetch(self, seed):
        """The bytes of a seed's kernel, or None."""
        for way in self.access:
            try:
                content = self.by_path(seed.ref) if way == "path" else self.by_http(seed.url)
            except (OSError, ValueError) as error:
                say("unreachable", way=way, why=str(error))
                continue
            if content is not None:
                return content
        return None

    def by_path(self, path):
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            content = file.read(MAX_KERNEL + 1)
        return content if len(content) <= MAX_KERNEL else None

    def by_http(self, url):
        if not url or not self.origin or origin_of(url) != origin_of(self.origin):
            return None
        request = urllib.request.Request(url)
        if self.token:
            request.add_header("Authorization", "Bearer " + self.token)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect)
        with opener.open(request, timeout=10) as answer:
            content = answer.read(MAX_KERNEL + 1)
        say("fetched_by_http", url=url, bytes=len(content))
        return content if len(content) <= MAX_KERNEL else None


# --- what runs beside the training loop ---


class Bus:
    """Connections, and the clock of the bus."""

    def __init__(self, options):
        self.options, self.offset_ms = options, 0.0

    def connect(self):
        redis = Redis(self.options.redis, self.options.user, self.options.password)
        before = time.time()
        seconds, micros = redis.do("TIME")
        self.offset_ms = (int(seconds) + int(micros) / 1e6 - (before + time.time()) / 2) * 1000
        return redis

    def now_ms(self):
        return int(time.time() * 1000 + self.offset_ms)

    def keep(self, name, work):
        """Runs work with a connection, again and again."""
        pause, down = 0.02, False
        while True:
            try:
                redis = self.connect()
                if down:
                    say("healed", who=name)
                pause, down = 0.02, False
                work(redis)
            except OSError as error:
                if not down:
                    say("outage", who=name, why=str(error))
                down = True
            time.sleep(pause)
            pause = min(pause * 2, 0.5)


class Sender:
    """Publishes what was reported last."""

    def __init__(self, bus, secret):
        self.bus, self.secret, self.condition = bus, secret, threading.Condition()
        self.latest, self.sent = None, 0

    def report(self, number, packet, attributes):
        with self.condition:
            self.latest = (number, packet, attributes)
            self.condition.notify()

    def run(self, redis):
        while True:
            with self.condition:
                while self.latest is None:
                    self.condition.wait()
                number, packet, attributes = self.latest
            data, signature = seal(self.secret, NORMAL, TYPE_STATE, packet, attributes, self.bus.now_ms())
            redis.do("XADD", NORMAL, "*", "payload", data, "signature", signature)
            with self.condition:
                self.sent = number
                if self.latest[0] == number:
                    self.latest = None


class Follower:
    """Reads the orders of the run."""

    def __init__(self, secret, stream, arrived):
        self.secret, self.stream, self.arrived, self.last = secret, stream, arrived, "0-0"

    def run(self, redis):
        self.look_back(redis)
        while True:
            if not self.hand_on(redis.do("XREAD", "COUNT", 64, "BLOCK", 1000, "STREAMS", self.stream, self.last)):
                self.look_back(redis)

    def look_back(self, redis):
        """Reads the stream anew when it is another one, which ends below where we stand."""
        answer = redis.do("XREAD", "COUNT", 64, "STREAMS", self.stream, "0-0")
        last = answer[0][1][-1][0].decode() if answer else "0-0"
        if tuple(map(int, last.split("-"))) < tuple(map(int, self.last.split("-"))):
            self.last = "0-0"
            self.hand_on(answer)

    def hand_on(self, answer):
        entries = answer[0][1] if answer else []
        for entry_id, flat in entries:
            self.last = entry_id.decode()
            try:
                command = open_order(self.secret, self.stream, self.last, dict(zip(flat[::2], flat[1::2])))
            except Refused as why:
                say("refused", why=str(why), entry=self.last)
                continue
            self.arrived.put(("command", command, time.monotonic()))
        return bool(entries)


# --- the training ---


class Trainer:
    def __init__(self, options):
        self.options, self.bus = options, Bus(options)
        self.arrived = queue.SimpleQueue()
        self.slots = json.loads(options.slots)
        self.kernels = Kernels(options.access.split(","), options.kernel_origin, options.token)
        self.epoch = self.number = 0
        self.resumes = ""
        self.graft = Graft(options.secret, options.run, "py-" + secrets.token_hex(6), self.slots,
                           [kind for kind in options.accepts.split(",") if kind])
        if options.resume:
            self.restore()
        self.sender = Sender(self.bus, options.secret)
        self.follower = Follower(options.secret, self.graft.stream(), self.arrived)

    def restore(self):
        with open(self.options.checkpoint, encoding="utf-8") as file:
            saved = json.load(file)
        self.epoch, self.resumes = saved["epoch"], saved["trainer_id"]
        self.graft.restore(saved)
        say("resumed", epoch=self.epoch, resumes=self.resumes, grafted=sorted(self.graft.seeds))

    def checkpoint(self):
        text = json.dumps({"epoch": self.epoch, **self.graft.saved()})
        fresh = self.options.checkpoint + ".new"
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.options.checkpoint)

    # The made-up training: the loss of the host falls to 0.5 and stays there; a
    # good seed takes a fifth off it, a bad one adds a third.

    def host_loss(self):
        return 0.5 + 0.5 * math.exp(-float(self.epoch))

    def gain(self, seed):
        good = self.options.good == "all" or seed.blueprint in self.options.good.split(",")
        return (0.2 if good else -0.33) * (1 - math.exp(-(seed.age + 1) / 3))

    def losses(self, seed):
        """The loss without the seed, and with it fully in."""
        before = self.host_loss()
        for other in self.graft.seeds.values():
            if other is not seed:
                before *= 1 - other.alpha() * self.gain(other)
        return before, before * (1 - self.gain(seed))

    def evidence(self, seed):
        before, after = self.losses(seed)
        learns = seed.stage in (TRAINING, BLENDING) or seed.tuned
        return {
            "loss_before": before, "loss_after": after, "loss_error": 0.002,
            "accuracy_before": 1 - before / 2, "accuracy_after": 1 - after / 2, "accuracy_error": 0.002,
            "held_out": 2048, "gradient_norm": 0.5 if learns else 0.0, "host_gradient_max": 0.0,
            "gradient_cosine": 0.25, "shared_parameters": 0, "train_loss": after + 0.2 * math.exp(-seed.age / 4),
            "forward_faults": 0, "forward_ms": 0.2, "forward_spread": 0.1,
        }

    def loss(self):
        loss = self.host_loss()
        for seed in self.graft.seeds.values():
            loss *= 1 - seed.alpha() * self.gain(seed)
        return loss

    def packet(self):
        loss = self.loss()
        packet = leyline.SystemStatePacket(
            version=1, current_epoch=self.epoch, validation_loss=loss, validation_accuracy=1 - loss / 2,
            training_loss=loss, timestamp_ns=time.time_ns(), packet_id="%s-%d" % (self.graft.trainer_id, self.number),
            global_step=self.epoch * self.options.steps, source_subsystem="tolaria", training_run_id=self.options.run,
            experiment_name="trainer_peer",
        )
        if self.options.only_reports:
            return packet
        packet.training_metrics["halted"] = float(self.graft.halted)
        packet.training_metrics["order"] = self.graft.run_order
        for name, value in self.graft.hyperparameters.items():
            packet.training_metrics["optimizer_" + name] = value
        packet.seed_states.extend(self.graft.states(self.evidence))
        return packet

    def carry_out(self):
        """Lets what has arrived take effect."""
        while True:
            try:
                what, subject, detail = self.arrived.get_nowait()
            except queue.Empty:
                return
            if what == "kernel":
                self.graft.fetched(subject, detail, UNREACHABLE)
                continue
            try:
                attach = self.graft.take(subject, detail)
            except Refused as why:
                self.graft.dropped[str(why)] += 1
                say("refused", why=str(why), order=subject.annotations.get("order", ""))
                continue
            if attach:
                threading.Thread(target=self.fetch, args=(attach,), daemon=True).start()

    def fetch(self, seed):
        self.arrived.put(("kernel", seed, self.kernels.fetch(seed)))

    def report(self):
        self.number += 1
        attributes = {}
        if not self.options.only_reports:
            attributes = self.graft.attributes(
                self.number, self.resumes, self.options.layers.split(","), self.kernels.access)
        packet = self.packet()
        self.sender.report(self.number, packet, attributes)
        say("report", number=self.number, epoch=self.epoch, order_read=self.graft.order_read,
            seeds={state.seed_id: leyline.SeedLifecycleStage.Name(state.stage) for state in packet.seed_states},
            sent=self.sender.sent, halted=self.graft.halted)
        for seed in self.graft.seeds.values():
            seed.age += 1

    def run(self):
        say("started", trainer_id=self.graft.trainer_id, run=self.options.run, stream=self.graft.stream())
        threading.Thread(target=self.bus.keep, args=("sender", self.sender.run), daemon=True).start()
        if not self.options.only_reports:
            threading.Thread(target=self.bus.keep, args=("follower", self.follower.run), daemon=True).start()
        while self.options.reports == 0 or self.number < self.options.reports:
            self.carry_out()
            if not self.graft.halted:
                self.graft.train(self.options.steps)
                self.epoch += 1
            time.sleep(self.options.interval)  # that was the training of an epoch
            self.carry_out()
            if self.options.checkpoint:
                self.checkpoint()
            self.report()
            if self.options.only_reports:  # as the prototype, which sends each
                self.await_sent()
        self.await_sent()
        say("done", reports=self.number, sent=self.sender.sent)

    def await_sent(self):
        deadline = time.monotonic() + 30
        while self.sender.sent < self.number and time.monotonic() < deadline:
            time.sleep(0.001)


# --- golden vectors ---


def close(got, want):
    return abs(got - want) <= 1e-6


class Vectors:
    """Holds what is above against the vectors in a folder."""

    def __init__(self, folder):
        self.folder, self.failures, self.checked = folder, 0, 0

    def load(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return json.load(file)

    def check(self, name, got, want):
        self.checked += 1
        if got != want:
            self.failures += 1
            say("differs", vector=name, got=got, want=want)

    def ramps(self):
        for case in self.load("ramps.json"):
            ramp = Ramp(case["annotations"])
            for step, share, done in case["points"]:
                self.check("ramp %s at %d" % (case["name"], step),
                           [close(ramp.share(step), share), ramp.done(step)], [True, done])

    def blends(self):
        for case in self.load("blends.json"):
            try:
                blend = Blend(case["annotations"])
            except Refused:
                self.check("blend " + case["name"], "refused", "refused" if case.get("refused") else "read")
                continue
            for host, seed, want in zip(case.get("host", []), case.get("seed", []), case.get("output", [])):
                got = blend.mix(case["alpha"], host, seed)
                self.check("blend " + case["name"], all(map(close, got, want)), True)
            self.check("blend " + case["name"], bool(case.get("refused")), False)

    def reports(self):
        story = self.load("reports.json")
        for case in story["reports"]:
            data = base64.b64decode(case["payload"])
            self.check("signature of " + case["name"], signature_of(story["secret"], data).decode(), case["signature"])
            envelope = leyline.BusEnvelope.FromString(data)
            self.check("attributes of " + case["name"], dict(envelope.attributes), case["attributes"])
            packet = leyline.SystemStatePacket.FromString(envelope.payload)
            self.check("seeds of " + case["name"], {s.seed_id: leyline.SeedLifecycleStage.Name(s.stage) for s in packet.seed_states},
                       case["seeds"])

    def orders(self):
        story = self.load("orders.json")
        graft = Graft(story["secret"], story["run"], story["trainer_id"], story["slots"], story["accepts"])
        self.check("stream", graft.stream(), story["stream"])
        for run, stream in story["streams"].items():
            self.check("stream of " + run, Graft("", run, "", {}).stream(), stream)
        for entry in story["entries"]:
            self.check(entry["name"], self.told(story, graft, entry), entry["then"])

    def told(self, story, graft, entry):
        """What the next report says when an entry has arrived."""
        dropped = ""
        try:
            fields = {b"payload": base64.b64decode(entry["payload"]), b"signature": entry["signature"].encode()}
            command = open_order(story["secret"], story["stream"], entry["id"], fields)
            if "signed" in entry:
                self.check("signed bytes of " + entry["name"], signed_bytes(command).hex(), entry["signed"])
            attach = graft.take(command)
            if attach:
                content = story["kernels"].get(attach.ref)
                graft.fetched(attach, base64.b64decode(content) if content else None, UNREACHABLE)
        except Refused as why:
            dropped = str(why)
        graft.train(entry.get("steps", 0))
        seeds = {}
        for state in graft.states(lambda _: {}):
            seeds[state.seed_id] = {"stage": leyline.SeedLifecycleStage.Name(state.stage),
                                    **{name: round(value, 6) for name, value in state.metrics.items()}}
        attributes = graft.attributes(1, "", [], [])
        return {
            "dropped": dropped, "order_read": int(attributes["order_read"]), "run_order": graft.run_order,
            "halted": int(graft.halted),
            "grafts": json.loads(attributes["grafts"]), "seeds": seeds,
        }

    def run(self):
        self.ramps()
        self.blends()
        self.reports()
        self.orders()
        say("vectors", checked=self.checked, failures=self.failures)
        return 1 if self.failures else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bindings", required=True, help="folder of what protoc made")
    parser.add_argument("--vectors", help="check the golden vectors in a folder, and end")
    parser.add_argument("--secret", default="")
    parser.add_argument("--redis", default="127.0.0.1:6379")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--run", default="run")
    parser.add_argument("--slots", default='{"hidden": [32]}')
    parser.add_argument("--layers", default="input,hidden,output")
    parser.add_argument("--access", default="path", help="path, http or both, in the order of preference")
    parser.add_argument("--kernel-origin", default="", help="scheme://host:port of kernels by HTTP")
    parser.add_argument("--token", default="")
    parser.add_argument("--accepts", default="")
    parser.add_argument("--good", default="all", help="blueprints that improve the model")
    parser.add_argument("--interval", type=float, default=0.05, help="seconds between two reports")
    parser.add_argument("--steps", type=int, default=10, help="optimizer steps between two reports")
    parser.add_argument("--reports", type=int, default=0, help="end after so many; 0 is never")
    parser.add_argument("--checkpoint", default="")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--only-reports", action="store_true")
    return parser.parse_args()


def main():
    global leyline
    options = arguments()
    sys.path.insert(0, options.bindings)
    from esper.leyline.v1 import leyline_pb2

    leyline = leyline_pb2
    if options.vectors:
        sys.exit(Vectors(options.vectors).run())
    try:
        Trainer(options).run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
