"""What travels on the bus, against the golden vectors."""

from __future__ import annotations

import base64
import copy
import json
import pickle
from typing import Any

import pytest
import torch

from weatherlight._graft.blending import mix
from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.blend import read_blend
from weatherlight._wire.envelope import Dropped, open_command, seal, signed_bytes
from weatherlight._wire.fields import Misread
from weatherlight._wire.keyring import Keyring
from weatherlight._wire.orders import order_stream, read_level
from weatherlight._wire.ramp import read_ramp
from weatherlight._wire.reports import Report
from weatherlight._wire.shape import well_formed


def test_ramps(vectors: Any) -> None:
    cases = vectors("ramps.json")
    assert len(cases) > 3
    for case in cases:
        ramp = read_ramp(case["annotations"])
        for step, share, done in case["points"]:
            assert ramp.share(step) == pytest.approx(share, abs=1e-6), case["name"]
            assert ramp.done(step) is done, case["name"]


def test_blends(vectors: Any) -> None:
    cases = vectors("blends.json")
    assert len(cases) > 5
    for case in cases:
        if case.get("refused"):
            with pytest.raises(Misread):
                read_blend(case["annotations"])
            continue
        blend = read_blend(case["annotations"])
        host, seed = torch.tensor(case["host"]).float(), torch.tensor(case["seed"]).float()
        got = mix(blend, case["alpha"], host, seed) if case["alpha"] else host
        assert torch.allclose(got, torch.tensor(case["output"]).float(), atol=1e-6), case["name"]


@pytest.mark.parametrize(
    "annotations",
    [
        {"alpha_schedule": "square"},
        {"alpha_steps": "-1"},
        {"alpha_steps": "16777217"},
        {"alpha_steps": "٣"},
        {"alpha_temperature": "0"},
        {"alpha_temperature": "nan"},
    ],
)
def test_ramps_that_are_refused(annotations: dict[str, str]) -> None:
    with pytest.raises(Misread):
        read_ramp(annotations)


@pytest.mark.parametrize(
    "annotations",
    [
        {"blend_mode": "CHANNEL", "alpha_vec": "[" * 5000},
        {"blend_mode": "CHANNEL", "alpha_vec": "[1, null]"},
        {"blend_mode": "CHANNEL", "alpha_vec": ",".join(["1"] * 65)},
        {"blend_mode": "CONFIDENCE", "gate_k": "inf"},
        {"blend_mode": "CONFIDENCE", "alpha_lo": "NaN"},
        {"confidence_logits_required": "true"},
    ],
)
def test_blends_that_are_refused(annotations: dict[str, str]) -> None:
    with pytest.raises(Misread):
        read_blend(annotations)


def test_reports(vectors: Any) -> None:
    story = vectors("reports.json")
    keyring = Keyring(story["secret"])
    for case in story["reports"]:
        data = base64.b64decode(case["payload"])
        assert keyring.sign(data) == case["signature"]
        envelope = leyline.BusEnvelope.FromString(data)
        assert dict(envelope.attributes) == case["attributes"]
        packet = leyline.SystemStatePacket.FromString(envelope.payload)
        stages = {s.seed_id: leyline.SeedLifecycleStage.Name(s.stage) for s in packet.seed_states}
        assert stages == case["seeds"]


def test_a_report_says_what_the_vectors_say(vectors: Any) -> None:
    first = vectors("reports.json")["reports"][1]["attributes"]
    report = Report(
        trainer_id=first["trainer_id"],
        number=int(first["report"]),
        order_read=int(first["order_read"]),
        slots=json.loads(first["slots"]),
        host_layers=json.loads(first["host_layers"]),
        kernel_access=json.loads(first["kernel_access"]),
        grafts=json.loads(first["grafts"]),
        accepts=json.loads(first.get("accepts", "[]")),
        resumes=first.get("trainer_resumes", ""),
    )
    for name, text in report.attributes().items():
        told = first[name]
        assert (json.loads(text) == json.loads(told)) if text[0] in "[{" else text == told


def test_signed_bytes(vectors: Any) -> None:
    story = vectors("orders.json")
    keyring = Keyring("another", story["secret"])  # the old secret of a rotation counts, too
    checked = 0
    for entry in story["entries"]:
        fields = {
            b"payload": base64.b64decode(entry["payload"]),
            b"signature": entry["signature"].encode(),
        }
        try:
            command = open_command(keyring, story["stream"], entry["id"], fields)
        except Dropped:
            continue
        if "signed" in entry:
            assert signed_bytes(command).hex() == entry["signed"]
            checked += 1
    assert checked > 20


def test_streams(vectors: Any) -> None:
    for run, stream in vectors("orders.json")["streams"].items():
        assert order_stream(run) == stream


def test_seal_and_open() -> None:
    keyring = Keyring("s3cret-of-a-test")
    command = leyline.AdaptationCommand(version=1, issued_by="kasmina")
    command.annotations["order"] = "1"
    command.annotations["signature"] = keyring.sign(signed_bytes(command))
    data, signature = seal(keyring, "oona.run.x", 2, command, {"more": "1"}, now_ms=5_000)
    fields = {b"payload": data, b"signature": signature.encode()}
    assert open_command(keyring, "oona.run.x", "5000-0", fields) == command
    for reason, args in {
        "foreign_stream": (keyring, "oona.run.y", "5000-0", fields),
        "bad_signature": (Keyring("other"), "oona.run.x", "5000-0", fields),
        "stale": (keyring, "oona.run.x", "125001-0", fields),
        "undecodable": (keyring, "oona.run.x", "5000-0", {}),
    }.items():
        with pytest.raises(Dropped) as dropped:
            open_command(*args)
        assert dropped.value.reason == reason
    for hostile in (b"\xff" * 44, b"", b"a" * 10**6):
        with pytest.raises(Dropped):
            open_command(keyring, "oona.run.x", "5000-0", {**fields, b"signature": hostile})


def test_bytes_that_no_library_writes_are_refused_before_one_reads_them() -> None:
    envelope = leyline.BusEnvelope(message_type="BUS_MESSAGE_TYPE_TELEMETRY", payload=b"x")
    envelope.attributes["a"] = "b"
    good = envelope.SerializeToString()
    shape = leyline.BusEnvelope.DESCRIPTOR
    assert well_formed(good, shape)
    assert well_formed(b"", shape)
    assert well_formed(good + b"\x7a\x01x\x78\x05", shape)  # fields of a later contract
    for odd in (
        b"\x1a\x06b\x01a\x12\x01b",  # an unknown field in an entry of a map: 4.21 dies of it
        b"\x1a\x03\x0a\x01",
        b"\x0b\x0c",
        b"\x0c",
        b"\x00\x01",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80" * 11,
        b"\x09\x00",
        b"\x08",
    ):
        assert not well_formed(good + odd, shape), odd
    command = leyline.AdaptationCommand()
    list_of = command.rollback_payload.get_or_create_list("deep")
    assert well_formed(command.SerializeToString(), command.DESCRIPTOR)
    for _ in range(20):
        list_of = list_of.add_list()
    assert not well_formed(command.SerializeToString(), command.DESCRIPTOR)


def test_a_secret_is_never_shown() -> None:
    keyring = Keyring("s3cret-of-a-test", "the old one")
    for text in (repr(keyring), str(keyring), f"{keyring}"):
        assert "s3cret" not in text
        assert "old" not in text
    assert keyring.redact("x s3cret-of-a-test y") == "x *** y"
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="secrets"):
            write(keyring)


def test_levels() -> None:
    assert [read_level(t) for t in ("EMERGENCY_LEVEL_HALT", "1", "", "9", "x")] == [4, 1, 3, 3, 3]
