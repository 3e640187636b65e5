"""Signals in shared memory, seen by a real service."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest

from servers import Redis, Service, eventually
from weatherlight import ConfigError, WeatherlightError, signals
from weatherlight.signals import Signals

SHM = Path("/dev/shm")


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    stem = "weatherlight-test-" + secrets.token_hex(6)
    yield stem + "-r", stem + "-e"
    for path in SHM.glob(stem + "*"):
        path.unlink()


def test_a_service_sees_signals_by_their_notice(
    redis_server: Redis, tmp_path: Path, names: tuple[str, str]
) -> None:
    environ = dict(zip((signals.ROLLBACK_ENV, signals.EMERGENCY_ENV), names, strict=True))
    service = Service(tmp_path / "service", redis_server.url, **environ)
    try:
        with Signals(environ=environ) as raised:
            _notifying(service)
            raised.rollback()
            raised.emergency(3, "the loss is no number: ü")
            eventually("the rollback counts", lambda: _series(service, "rollback_detections") == 1)
            eventually("so does the other", lambda: _series(service, "emergency_detections") == 1)
            assert _series(service, "emergency_last_level") == 3
            assert _flags(raised) == [0, 0]
            raised.emergency(4, "x" * 80)
            eventually("the halt counts", lambda: _series(service, "emergency_last_level") == 4)
            _notifying(service)
            for reason in ("the loss is no number: ü", "x" * 53):
                eventually("the reason is told", lambda: reason in _telemetry(redis_server))  # noqa: B023
            assert "x" * 54 not in _telemetry(redis_server)
        assert not any((SHM / name).exists() for name in names)
    finally:
        service.kill()


def _notifying(service: Service) -> None:
    """Both are found by their notices; whoever opens a segment interrupts that."""
    eventually(
        "both are known to notify",
        lambda: {row["detected_by"] for row in service.get("/status")["signals"]} == {"notice"},
    )


def _flags(raised: Signals) -> list[int]:
    return [segment.read(1)[0] for segment in raised._segments.values()]


def _series(service: Service, name: str) -> float:
    for line in service.text("/metrics").splitlines():
        if line.startswith(f"weatherlight_{name}"):
            return float(line.rpartition(" ")[2])
    return 0.0


def _telemetry(server: Redis) -> str:
    streams = ("oona.telemetry", "oona.emergency")
    entries = [fields for stream in streams for _, fields in server.client.xrange(stream)]
    return "".join(fields[b"payload"].decode(errors="replace") for fields in entries)


def test_the_bytes_of_a_record(names: tuple[str, str]) -> None:
    before = time.monotonic_ns() // 10**6
    with Signals(*names) as raised:
        raised.rollback()
        raised.emergency(2, "y" * 52 + "ü")
        rollback, emergency = ((SHM / name).read_bytes() for name in names)
        assert (len(rollback), len(emergency)) == (16, 64)
        assert rollback[:8] == b"\x01" + bytes(7)
        assert before <= struct.unpack_from("<Q", rollback, 8)[0] < before + 60_000
        assert emergency[:2] == b"\x01\x02"
        assert before <= struct.unpack_from("<Q", emergency, 2)[0] < before + 60_000
        assert emergency[10:] == bytes([52]) + b"y" * 52 + b"\0"
        # The graver one stays until it was taken.
        raised.emergency(1, "mild")
        assert (SHM / names[1]).read_bytes() == emergency
        raised.emergency(2, "z")
        assert (SHM / names[1]).read_bytes()[10:12] == b"\x01z"
        raised.emergency(4)
        assert (SHM / names[1]).read_bytes()[1] == 4


def test_a_record_is_written_in_one_step(
    names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = signals._Segment.write

    def watched(segment: signals._Segment, *content: Any) -> None:
        written.append(len(content[-1]))
        write(segment, *content)

    monkeypatch.setattr(signals._Segment, "write", watched)
    with Signals(*names) as raised:
        raised.rollback()
        raised.emergency(2, "a long reason")
        raised.emergency(3, "why")
        assert written == [16, 64, 64]
        assert (SHM / names[1]).read_bytes()[10:] == b"\x03why".ljust(54, b"\0")


class _Lock:
    """Notes how many segments there are when it is taken, and when it is let go."""

    def __init__(self, raised: Signals) -> None:
        self._raised = raised
        self.seen: list[int] = []

    def __enter__(self) -> None:
        self.seen.append(len(self._raised._segments))

    def __exit__(self, *_: object) -> None:
        self.seen.append(len(self._raised._segments))


def test_the_end_waits_for_who_writes(
    names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = Signals(*names)
    lock = _Lock(raised)
    monkeypatch.setattr(raised, "_lock", lock)
    raised.close()
    assert lock.seen == [2, 0]
    for act in (raised.rollback, lambda: raised.emergency(1)):
        with pytest.raises(WeatherlightError, match="closed"):
            act()
    assert lock.seen == [2, 0] + [0, 0] * 2  # looked at behind the lock, too


def test_segments_that_were_there_are_used_and_stay(names: tuple[str, str]) -> None:
    theirs = shared_memory.SharedMemory(names[0], create=True, size=16)
    try:
        with Signals(rollback="/" + names[0], environ={}) as raised:
            raised.rollback()
            assert theirs.buf is not None
            assert theirs.buf[0] == 1
            with pytest.raises(ConfigError, match=signals.EMERGENCY_ENV):
                raised.emergency(4)
        assert (SHM / names[0]).exists()
        with pytest.raises(WeatherlightError, match="closed"):
            raised.rollback()
        raised.close()
    finally:
        theirs.close()
        theirs.unlink()


def test_one_of_another_that_took_the_name_stays(names: tuple[str, str]) -> None:
    raised = Signals(*names)
    (SHM / names[0]).unlink()
    (SHM / names[0]).write_bytes(bytes(16))
    raised.close()
    assert (SHM / names[0]).exists()
    assert not (SHM / names[1]).exists()


def test_a_fork_removes_nothing(names: tuple[str, str]) -> None:
    with Signals(*names) as raised:
        process = multiprocessing.get_context("fork").Process(target=raised.close)
        process.start()
        process.join(30)
        assert process.exitcode == 0
        raised.rollback()
        assert _flags(raised) == [1, 0]
    assert not (SHM / names[0]).exists()


PROGRAM = """
import sys
from multiprocessing import shared_memory
from weatherlight.signals import Signals
other = shared_memory.SharedMemory(create=True, size=8)  # the tracker is around
signals = Signals(*sys.argv[1:])
signals.emergency(1, "at the end")
other.close()
other.unlink()
"""


def test_the_end_of_a_program_removes_what_it_made(names: tuple[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.stderr == ""
    assert not (SHM / names[0]).exists()
    assert not (SHM / names[1]).exists()


def test_what_cannot_be(names: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=signals.ROLLBACK_ENV):
        Signals(environ={})
    with pytest.raises(ConfigError, match="one name"):
        Signals("a", "/a")
    for name in ("../x", "a/b", "..", "a\0", "x" * 256):
        with pytest.raises(ConfigError, match="no name"):
            Signals(name)
    (SHM / names[0]).write_bytes(b"short")
    with pytest.raises(ConfigError, match="remove it"):
        Signals(rollback=names[0], emergency=names[1])
    (SHM / names[0]).unlink()
    os.symlink("/etc/passwd", SHM / names[0])
    with pytest.raises(ConfigError, match="cannot be"):
        Signals(*names)
    with Signals(emergency=names[1], environ={}) as raised:
        for level in (0, 5, -1, "4", 3.0, True):
            with pytest.raises(ConfigError, match="from 1 to 4"):
                raised.emergency(level)  # type: ignore[arg-type]
    for gone in ({"_FOLDER": Path("/nowhere/shm")}, {"fcntl": None}):
        with monkeypatch.context() as patched:
            for what, value in gone.items():
                patched.setattr(signals, what, value)
            with pytest.raises(ConfigError, match="raise_emergency"):
                Signals(*names)


def test_a_lock_of_another_is_not_waited_for(names: tuple[str, str]) -> None:
    fcntl: Any = pytest.importorskip("fcntl")
    (SHM / names[1]).write_bytes(bytes(64))
    with (SHM / names[1]).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with Signals(emergency=names[1], environ={}) as raised:
            raised.emergency(1)
