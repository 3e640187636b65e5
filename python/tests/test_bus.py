"""The bus: what leaves, what arrives, and what happens when it is away."""

from __future__ import annotations

import hashlib
import http.server
import logging
import multiprocessing
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import weatherlight
from conductor import Conductor, Net, batch_of, evaluate, loss_of
from servers import SECRET, Redis, certified, eventually, free_port
from weatherlight._bus.config import read_config, read_keyring
from weatherlight._bus.fetch import MISMATCH, UNREACHABLE, UNSIGNED, AttachError, Fetcher
from weatherlight._bus.link import Link
from weatherlight._bus.outbox import MAX_ALARMS, Outbox
from weatherlight._wire import leyline_pb2 as leyline
from weatherlight._wire.keyring import Keyring
from weatherlight._wire.orders import Order
from weatherlight.errors import ConfigError


def grow(url: str, **options: Any) -> weatherlight.Growth:
    options = {"run": "test", "secret": SECRET, **options}
    return weatherlight.grow(Net(), "norm", sample=batch_of(4)[0], loss=loss_of, bus=url, **options)


@pytest.fixture
def growth(redis_server: Redis) -> Iterator[weatherlight.Growth]:
    one = grow(redis_server.url)
    yield one
    one.close(0)


def published(server: Redis) -> list[tuple[leyline.SystemStatePacket, dict[str, str]]]:
    found = []
    for entry_id, fields in server.client.xrange("oona.normal"):
        assert Keyring(SECRET).verifies(fields[b"payload"], fields[b"signature"])
        envelope = leyline.BusEnvelope.FromString(fields[b"payload"])
        attributes = dict(envelope.attributes)
        assert attributes["stream"] == "oona.normal"
        assert abs(int(attributes["issued_at_ms"]) - int(entry_id.split(b"-")[0])) < 1000
        found.append((leyline.SystemStatePacket.FromString(envelope.payload), attributes))
    return found


def test_a_report_leaves_with_all_that_it_must_tell(
    redis_server: Redis, growth: weatherlight.Growth
) -> None:
    growth.step(batch_of())
    eventually("the first report", lambda: len(published(redis_server)) == 1)
    seen = growth.report(evaluate, training_loss=0.5, metrics={"mine": 3.0})
    eventually("the second report", lambda: len(published(redis_server)) == 2)
    packet, attributes = published(redis_server)[1]
    assert attributes["trainer_protocol"] == "1"
    assert attributes["report"] == "2"
    assert attributes["order_read"] == "0"
    assert attributes["slots"] == '{"norm":[8]}'
    assert attributes["host_layers"] == '["front","norm","drop","head"]'
    assert attributes["kernel_access"] == '["path"]'
    assert len(attributes["nonce"]) == 16
    assert packet.training_run_id == "test"
    assert packet.validation_loss == pytest.approx(seen["loss"])
    assert packet.validation_accuracy == pytest.approx(seen["accuracy"])
    assert packet.training_loss == 0.5
    assert packet.global_step == 1
    assert packet.current_epoch == 1
    assert packet.training_metrics["mine"] == 3
    nonces = {told["nonce"] for _, told in published(redis_server)}
    assert len(nonces) == 2


def refusals(server: Redis) -> int:
    """How often a server has answered with an error."""
    return int(server.client.info("stats")["total_error_replies"])


def test_orders_arrive_and_are_read_again_without_harm(
    redis_server: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = grow(redis_server.url)
    growth.step(batch_of())
    service = Conductor(growth, tmp_path)
    entries: list[Any] = []
    with monkeypatch.context() as patched:
        patched.setattr(growth._link.inbox, "take_entry", lambda _, fields: entries.append(fields))
        service.order("emergency", level="4")
    for _ in range(2):
        redis_server.client.xadd("oona.run.test", entries[0])

    def halted() -> bool:
        growth.step(batch_of())
        return growth.halted

    eventually("the order", halted)
    eventually("the repeat", lambda: growth.dropped.get("number") == 1)
    redis_server.client.flushall()
    redis_server.client.xadd("oona.run.test", entries[0], id="1-1")
    growth.close(0)


def test_a_flushed_stream_is_read_from_its_beginning(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(redis_server.url, SECRET)
    link = Link(config, "test", "t-1", lambda *_: None)
    taken: list[str] = []
    monkeypatch.setattr(link.inbox, "take_entry", lambda entry_id, _: taken.append(entry_id))
    link._position.last = "99-0"
    redis_server.client.xadd("oona.run.test", {"a": "b"}, id="5-0")
    link._look_back(link._connect())
    assert taken == ["5-0"]
    assert link._position.last == "5-0"
    link._look_back(link._connect())
    assert taken == ["5-0"]


def test_nothing_waits_for_a_bus_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    growth = grow(f"redis://:hidden-pass@127.0.0.1:{free_port()}/0")
    for _ in range(50):
        growth.step(batch_of())
        growth.report()
    slowest = 0.0
    for _ in range(20):
        started = time.perf_counter()
        growth.report()
        slowest = max(slowest, time.perf_counter() - started)
        time.sleep(0.01)
    warnings = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "training goes on" in warnings[0].getMessage()
    assert "hidden-pass" not in caplog.text
    assert SECRET not in caplog.text
    assert slowest < 2  # sooner than any wait for the network would end
    started = time.perf_counter()
    growth.close(0.2)
    assert time.perf_counter() - started < 5


def test_an_outage_is_told_once_and_heals(
    redis_server: Redis, growth: weatherlight.Growth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    growth.report()
    eventually("a report", lambda: published(redis_server))
    redis_server.kill()
    eventually("the outage", lambda: growth._link.episode.count == 1)
    for _ in range(5):
        growth.report()
    redis_server.start()
    eventually("the last report", lambda: len(published(redis_server)) == 1)
    assert published(redis_server)[0][1]["report"] == "6"
    eventually("both threads", lambda: "the bus is back" in caplog.text)
    assert sum("cannot be reached" in r.getMessage() for r in caplog.records) == 1


def test_a_bus_that_refuses_writes_is_told_once_and_heals(
    redis_server: Redis, growth: weatherlight.Growth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    growth.report()
    eventually("a report", lambda: len(published(redis_server)) == 1)
    before = refusals(redis_server)
    redis_server.client.config_set("maxmemory", "1")
    growth.report()
    eventually("a second try", lambda: refusals(redis_server) >= before + 2)
    redis_server.client.config_set("maxmemory", "0")
    eventually("the report", lambda: len(published(redis_server)) == 2)
    eventually("the end of it", lambda: "the bus is back" in caplog.text)
    messages = [r.getMessage() for r in caplog.records]
    assert (
        sum(
            "the bus refuses what it is asked" in text and "'maxmemory'" in text
            for text in messages
        )
        == 1
    )
    assert sum("the bus is back" in text for text in messages) == 1
    assert not any("cannot be reached" in text for text in messages)


def test_a_crash_in_the_background_is_told(
    redis_server: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = grow(redis_server.url)

    def broken(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(growth._link, "_send_all", broken)
    with pytest.warns(weatherlight.BackgroundWarning, match="goes on"):  # noqa: PT031
        growth.report()
        eventually("the crash", lambda: growth._link.crash is not None)
        growth.step(batch_of())
    growth.step(batch_of())
    eventually("the log has it", lambda: "a fault of ours" in caplog.text)
    growth.close(5)


def test_a_fork_does_nothing(redis_server: Redis, growth: weatherlight.Growth) -> None:
    growth.report()
    eventually("a report", lambda: published(redis_server))
    context = multiprocessing.get_context("fork")

    def child() -> None:
        torch.set_num_threads(1)
        growth.step(None)
        growth.report()
        growth.close()
        os._exit(0)

    process = context.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    growth.report()
    eventually("another report", lambda: len(published(redis_server)) == 2)


def test_a_trainer_under_the_access_list_of_trainers(redis_server: Redis) -> None:
    page = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("user trainer on "))
    redis_server.client.execute_command("ACL", "SETUSER", *line.split()[1:])
    growth = grow(redis_server.url.replace("//", "//trainer:SECRET@"))
    growth.report()
    eventually("a report", lambda: published(redis_server))
    eventually("orders are followed", lambda: growth._link._position.looked_back > 0)
    assert growth._link.episode.count == 0
    growth.close()


def _over_tls(folder: Path, address: str) -> tuple[Redis, str]:
    """A server with a certificate of an address, and its own address."""
    certificate, key, port = folder / "ca.pem", folder / "key.pem", free_port()
    certified(certificate, key, address)
    told = {"port": port, "cert-file": certificate, "key-file": key, "ca-cert-file": certificate}
    args = [word for name, value in told.items() for word in (f"--tls-{name}", str(value))]
    server = Redis(folder, *args, "--tls-auth-clients", "no")
    return server, f"rediss://127.0.0.1:{port}/0"


def test_a_bus_over_tls_by_its_authority(tmp_path: Path) -> None:
    server, url = _over_tls(tmp_path, "127.0.0.1")
    growth = grow(f"{url}?ca={tmp_path}/ca.pem")
    growth.report()
    eventually("a report", lambda: len(published(server)) == 1)
    growth.close()
    stranger = grow(url)
    stranger.report()
    eventually("a refusal", lambda: stranger._link.episode.count)
    stranger.close(0)
    assert len(published(server)) == 1
    server.kill()


def test_a_server_with_the_certificate_of_another_is_refused(tmp_path: Path) -> None:
    server, url = _over_tls(tmp_path, "127.0.0.2")
    growth = grow(f"{url}?ca={tmp_path}/ca.pem")
    growth.report()
    eventually("it is decided", lambda: growth._link.episode.count or published(server))
    growth.close(0)
    assert published(server) == []
    server.kill()


def test_a_bus_by_its_socket(tmp_path: Path) -> None:
    server = Redis(tmp_path, "--unixsocket", str(tmp_path / "s"))
    growth = grow(f"unix://{tmp_path}/s?db=0")
    growth.report()
    eventually("a report", lambda: len(published(server)) == 1)
    growth.close()
    server.kill()


def test_secrets_as_the_service_names_them(tmp_path: Path) -> None:
    file = tmp_path / "secrets"
    file.write_text("new one\r\n\nold one\n")
    keyring = read_keyring(
        None, {"ESPER_LEYLINE_SECRET": "a", "ESPER_LEYLINE_SECRET_PREVIOUS": "b,c"}
    )
    assert keyring.sign(b"x") == Keyring("a").sign(b"x")
    assert keyring.verifies(b"x", Keyring("c").sign(b"x").encode())
    keyring = read_keyring(
        None, {"ESPER_LEYLINE_SECRET_FILE": str(file), "ESPER_LEYLINE_SECRET": "a"}
    )
    assert keyring.sign(b"x") == Keyring("new one").sign(b"x")
    assert keyring.verifies(b"x", Keyring("old one").sign(b"x").encode())
    assert keyring.verifies(b"x", Keyring("a").sign(b"x").encode())
    file.write_text("secret of Notepad\r\n", encoding="utf-8-sig")
    keyring = read_keyring(None, {"ESPER_LEYLINE_SECRET_FILE": str(file)})
    assert keyring.sign(b"x") == Keyring("secret of Notepad").sign(b"x")
    for environ in ({}, {"ESPER_LEYLINE_SECRET": " "}, {"ESPER_LEYLINE_SECRET_FILE": "/nowhere"}):
        with pytest.raises(weatherlight.ConfigError):
            read_keyring(None, environ)


def test_a_configuration_shows_no_secret() -> None:
    config = read_config("redis://u:pass%40word@h/0", SECRET, "http://h:1", "t0ken-of-a-test")
    for text in (repr(config), str(config)):
        for hidden in (SECRET, "pass", "t0ken"):
            assert hidden not in text
    told = config.redact(f"{SECRET} pass@word pass%40word t0ken-of-a-test")
    assert told == "*** *** *** ***"


class _Library(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes]
    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Authorization"]))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/kernel")
            self.end_headers()
            return
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def library() -> Iterator[Any]:
    handler = type("Library", (_Library,), {"files": {}, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handler.origin = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield handler
    server.shutdown()


def _order(content: bytes, **fields: Any) -> Order:
    checksum = hashlib.sha256(content).hexdigest()
    return Order(kind="attach", number=1, run="r", trainer_id="t", checksum=checksum, **fields)


def _refused(fetcher: Fetcher, order: Order) -> int:
    with pytest.raises(AttachError) as error:
        fetcher.fetch(order)
    return error.value.reason


@pytest.fixture
def by_https(library: Any, tmp_path: Path) -> Iterator[Any]:
    """The library by HTTPS, with a certificate that nobody signed but itself."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certified(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), library)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    library.origin = f"https://127.0.0.1:{server.server_port}"
    library.certificate = certificate
    yield library
    server.shutdown()


def test_kernels_by_https(by_https: Any, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("t0ken-of-a-file\nt0ken-before-it\n", encoding="utf-8-sig")
    by_https.files["/kernel"] = b"kernel"
    environ = {"WEATHERLIGHT_HTTP_TOKEN_FILE": str(tokens), "WEATHERLIGHT_HTTP_TOKEN": "another"}
    order = _order(b"kernel", url=by_https.origin + "/kernel")
    stranger = read_config("redis://x", SECRET, by_https.origin, environ=environ)
    assert _refused(Fetcher(stranger), order) == UNREACHABLE
    assert by_https.seen == []  # nobody is sent a token before it has shown who it is
    environ["ESPER_CA_FILE"] = str(by_https.certificate)
    trusting = read_config("redis://x", SECRET, by_https.origin, environ=environ)
    assert Fetcher(trusting).fetch(order) == b"kernel"
    assert by_https.seen == [("/kernel", "Bearer t0ken-of-a-file")]
    for name in ("WEATHERLIGHT_HTTP_TOKEN_FILE", "ESPER_CA_FILE"):
        missing = {**environ, name: str(tmp_path / "none")}
        with pytest.raises(ConfigError, match=name):
            Fetcher(read_config("redis://x", SECRET, by_https.origin, environ=missing))


def test_kernels_by_http(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    config = read_config("redis://x", SECRET, library.origin, "t0ken-of-a-test")
    fetcher = Fetcher(config)
    library.files.update({"/kernel": b"kernel", "/large": b"x" * (16 << 20) + b"x"})
    where = library.origin + "/kernel"
    assert fetcher.fetch(_order(b"kernel", url=where)) == b"kernel"
    assert library.seen == [("/kernel", "Bearer t0ken-of-a-test")]
    assert fetcher.fetch(_order(b"kernel", url=where)) == b"kernel"
    assert len(library.seen) == 1  # it is remembered
    assert _refused(fetcher, _order(b"other", url=where)) == MISMATCH
    port = library.origin.rpartition(":")[2]
    for url in (
        library.origin + "/none",
        library.origin + "/moved",
        library.origin + "/large",
        f"http://localhost:{port}/kernel",
        f"http://user@127.0.0.1:{port}/kernel",
        "file:///etc/passwd",
        "http://127.0.0.1:1/kernel",
        "http://[",
        "",
    ):
        assert _refused(fetcher, _order(b"k", url=url)) == UNREACHABLE, url


def test_kernels_by_path(tmp_path: Path) -> None:
    fetcher = Fetcher(read_config("redis://x", SECRET))
    path = tmp_path / "kernel"
    path.write_bytes(b"kernel")
    assert fetcher.fetch(_order(b"kernel", ref="file://" + str(path))) == b"kernel"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * (16 << 20) + b"x")
    for ref in ("pipe", "large", "none", "."):
        assert _refused(fetcher, _order(b"k", ref=str(tmp_path / ref))) == UNREACHABLE, ref
    assert _refused(fetcher, _order(b"k", ref="a\0b")) == UNREACHABLE


# Made by minisign 0.11: the key, and its signature of b"kernel\n".
def test_signed_kernels(tmp_path: Path) -> None:
    signed = Path(__file__).parent / "testdata" / "signed"
    key = (signed / "key.pub").read_text()
    fetcher = Fetcher(read_config("redis://x", SECRET, trusted_keys=[key]))
    content = (signed / "kernel").read_bytes()
    assert fetcher.fetch(_order(content, ref=str(signed / "kernel"))) == content
    path = tmp_path / "kernel"
    path.write_bytes(b"another")
    assert _refused(fetcher, _order(b"another", ref=str(path))) == UNSIGNED
    for hostile in (b"", b"\xff", (signed / "kernel.minisig").read_bytes(), b"a\nb\nc\nd"):
        (tmp_path / "kernel.minisig").write_bytes(hostile)
        assert _refused(fetcher, _order(b"another", ref=str(path))) == UNSIGNED
    with pytest.raises(weatherlight.ConfigError):
        read_config("redis://x", SECRET, trusted_keys=["no key"])


def test_an_emergency_is_bound_and_told_once(
    redis_server: Redis, growth: weatherlight.Growth, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.time()
    growth.raise_emergency(3, "why")
    growth.close(30)  # lets it leave
    ((_, fields),) = redis_server.client.xrange("oona.emergency")
    assert Keyring(SECRET).verifies(fields[b"payload"], fields[b"signature"])
    envelope = leyline.BusEnvelope.FromString(fields[b"payload"])
    assert envelope.message_type == leyline.BUS_MESSAGE_TYPE_EMERGENCY_SIGNAL
    attributes = dict(envelope.attributes)
    assert attributes["stream"] == "oona.emergency"
    assert (attributes["level"], attributes["reason"]) == ("3", "why")
    signal = leyline.EmergencySignal.FromString(envelope.payload)
    assert (signal.version, signal.level, signal.reason, signal.run_id) == (1, 3, "why", "test")
    assert signal.origin == attributes["origin"] == growth._trainer_id
    assert began - 1 < signal.triggered_at.ToNanoseconds() / 1e9 < time.time() + 1
    growth.raise_emergency(4, "too late")
    assert "too late" in caplog.text
    for level in (0, 5, "4", 3.0, True):
        with pytest.raises(weatherlight.ConfigError, match="from 1 to 4"):
            growth.raise_emergency(level, "no level")  # type: ignore[arg-type]


def test_an_emergency_that_is_refused_holds_no_report_up(
    redis_server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    rights = ["ACL", "SETUSER", "narrow", "on", ">SECRET", "+@all", "~oona.normal", "~oona.run.*"]
    redis_server.client.execute_command(*rights)
    growth = grow(redis_server.url.replace("//", "//narrow:SECRET@"))
    growth.raise_emergency(4, "why")
    eventually("a report", lambda: len(published(redis_server)) == 1)
    growth.report()
    eventually("another one", lambda: len(published(redis_server)) == 2)
    assert redis_server.client.xlen("oona.emergency") == 0
    redis_server.client.execute_command("ACL", "SETUSER", "narrow", "~oona.emergency")
    eventually("the emergency", lambda: redis_server.client.xlen("oona.emergency") == 1)
    eventually("the end of it", lambda: "the bus is back" in caplog.text)
    assert sum("refuses what it is asked" in r.getMessage() for r in caplog.records) == 1
    growth.close()
    assert redis_server.client.xlen("oona.emergency") == 1


def test_reports_and_outages_pass_by_an_emergency_that_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    rights = ["on", ">SECRET", "+@all", "~oona.normal", "~oona.run.*"]
    server = Redis(tmp_path, "--user", "narrow", *rights)
    growth = grow(server.url.replace("//", "//narrow:SECRET@"))
    growth.raise_emergency(4, "why")
    eventually("the refusal", lambda: "refuses what it is asked" in caplog.text)
    eventually("a report", lambda: len(published(server)) == 1)
    eventually("both connections", lambda: growth._link._position.looked_back > 0)
    connections = server.client.info("stats")["total_connections_received"]
    for number in range(2, 7):
        growth.report()
        eventually("another one", lambda: len(published(server)) == number)  # noqa: B023
    assert server.client.info("stats")["total_connections_received"] == connections
    server.kill()
    eventually("the outage is told", lambda: "cannot be reached" in caplog.text)
    growth.report()
    server.start()
    eventually("the last report", lambda: len(published(server)) == 1)
    eventually("its end is told", lambda: "the bus is back" in caplog.text)
    server.client.execute_command("ACL", "SETUSER", "narrow", "~oona.emergency")
    eventually("the emergency", lambda: server.client.xlen("oona.emergency") == 1)
    growth.close()
    server.kill()


def test_an_emergency_that_a_replica_refuses_looks_for_another_server(
    redis_server: Redis, growth: weatherlight.Growth
) -> None:
    growth.report()
    eventually("a report", lambda: len(published(redis_server)) == 1)
    redis_server.client.execute_command("REPLICAOF", "127.0.0.1", free_port())

    def connections() -> int:
        return int(redis_server.client.info("stats")["total_connections_received"])

    before = connections()
    growth.raise_emergency(4, "why")
    eventually("another connection", lambda: connections() > before)
    redis_server.client.execute_command("REPLICAOF", "NO", "ONE")
    eventually("the emergency", lambda: redis_server.client.xlen("oona.emergency") == 1)


def test_nothing_turns_around_an_emergency_whose_time_has_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox = Outbox()
    outbox.alarm(leyline.EmergencySignal(level=4))  # type: ignore[arg-type]
    for _ in range(20):
        outbox.refused()
    assert outbox.next_alarm() is None
    assert outbox.empty
    waited: list[float] = []
    monkeypatch.setattr(outbox._moved, "wait", waited.append)
    for most in (1000.0, 0.25):
        outbox.wait(most)
    assert 0.25 < waited[0] < 1000
    assert waited[1] == 0.25
    assert not outbox.flush(0)
    assert outbox.next_alarm() is not None  # a last try


def test_emergencies_that_could_not_leave_are_named(caplog: pytest.LogCaptureFixture) -> None:
    growth = grow(f"redis://127.0.0.1:{free_port()}/0")
    growth.raise_emergency(3, "the first reason")
    growth.raise_emergency(4, "the other reason")
    growth.close(0)
    told = "nobody is told of 2 emergencies, which could not leave: the first reason; the other"
    assert told in caplog.text


def test_an_emergency_that_is_left_out_is_named(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox()
    for at in range(MAX_ALARMS + 1):
        level = 1 if at == 2 else 4
        outbox.alarm(leyline.EmergencySignal(level=level, reason=f"reason {at}."))  # type: ignore[arg-type]
    (told,) = caplog.records
    assert told.getMessage().endswith("reason 2.")


def test_an_emergency_behind_a_crash_or_in_a_fork_is_told_of_as_lost(
    redis_server: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    growth = grow(redis_server.url)

    def child() -> None:
        growth.raise_emergency(4, "of the fork")
        told = [r.getMessage() for r in caplog.records]
        os._exit(not any("fork of the" in text and "of the fork" in text for text in told))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0

    def broken(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(growth._link, "_send_all", broken)
    with pytest.warns(weatherlight.BackgroundWarning):  # noqa: PT031
        growth.report()
        eventually("the crash", lambda: growth._link.crash is not None)
        growth.step(batch_of())
    growth.raise_emergency(4, "behind the crash")
    assert "ended by a fault: behind the crash" in caplog.text
    growth.close(0)


def test_of_too_many_emergencies_the_gravest_and_the_newest_wait() -> None:
    outbox = Outbox()
    for at in range(2 * MAX_ALARMS):
        outbox.alarm(leyline.EmergencySignal(level=4 if at == 3 else 2, reason=str(at)))  # type: ignore[arg-type]
    outbox.alarm(leyline.EmergencySignal(level=1, reason="mild"))  # type: ignore[arg-type]
    seen = []
    while (signal := outbox.next_alarm()) is not None:
        seen.append(signal.reason)
        outbox.raised(signal)
    newest = range(MAX_ALARMS + 1, 2 * MAX_ALARMS)
    assert seen == ["3", *map(str, newest)]
    assert outbox.empty
