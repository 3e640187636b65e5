"""A bus of several servers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import redis

import weatherlight
from conductor import Conductor, Net, batch_of, evaluate, loss_of
from servers import SECRET, Cluster, Redis, Service, eventually
from weatherlight._bus.address import read_address
from weatherlight._bus.servers import redirection


def grow(url: str, run: str, **options: Any) -> weatherlight.Growth:
    options = {"sample": batch_of(4)[0], "loss": loss_of, "secret": SECRET, **options}
    return weatherlight.grow(Net(), "norm", run=run, bus=url, **options)


def elsewhere(cluster: Cluster, *streams: str) -> str:
    """A run whose orders lie on another server than the streams."""
    taken = [cluster.home(stream) for stream in streams]
    runs = (f"run-{at}" for at in range(1000))
    return next(run for run in runs if cluster.home(f"oona.run.{run}") not in taken)


@pytest.fixture
def trainers(cluster: Cluster) -> str:
    """The cluster under the access list of trainers."""
    page = (Path(__file__).parents[2] / "docs" / "trainers.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("user trainer on "))
    for node in cluster.nodes:
        node.client.execute_command("ACL", "SETUSER", *line.split()[1:])
    return cluster.url.replace("//", "//trainer:SECRET@")


def test_a_service_and_a_trainer_on_a_cluster(
    cluster: Cluster, trainers: str, tmp_path: Path
) -> None:
    run = elsewhere(cluster, "oona.normal", "oona.emergency")
    assert cluster.home("oona.normal") is not cluster.home("oona.emergency")
    growth = grow(trainers, run)
    service = Service(tmp_path / "service", cluster.url)
    try:
        growth.step(batch_of())
        growth.report(evaluate)
        eventually("the service knows the run", lambda: run in str(service.get("/runs")))
        growth.raise_emergency(4, "there and back")

        def halted() -> bool:
            growth.step(batch_of())
            growth.report(evaluate)
            return growth.halted

        eventually("its order", halted)
        assert growth._link.episode.count == 0
    finally:
        growth.close()
        service.kill()


def test_streams_are_followed_where_they_go(
    cluster: Cluster,
    trainers: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "weatherlight")
    run = elsewhere(cluster, "oona.normal")
    growth = grow(trainers.partition("?")[0] + "?cluster=true", run)
    home = cluster.home("oona.normal")
    home.client.delete("oona.normal")
    growth.report()
    eventually("a report", lambda: home.client.xlen("oona.normal") == 1)
    to = cluster.begin_move("oona.normal")
    growth.report()
    eventually("one that was asked elsewhere", lambda: _length(to) == 1)
    cluster.end_move("oona.normal", to)
    growth.report()
    eventually("one that was moved", lambda: to.client.xlen("oona.normal") == 2)
    assert growth._link.episode.count == 0
    entries: list[Any] = []
    service = Conductor(growth, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(growth._link.inbox, "take_entry", lambda _, fields: entries.append(fields))
        service.order("emergency", level="4")
    orders = f"oona.run.{run}"
    to = cluster.begin_move(orders)
    cluster.end_move(orders, to)
    to.client.xadd(orders, entries[0])

    def halted() -> bool:
        growth.step(batch_of())
        return growth.halted

    eventually("the order from where it is now", halted)
    growth.close()
    assert growth._link.crash is None


def _length(to: Redis) -> int:
    """Of a stream that moves just now."""
    pipeline: Any = to.client.pipeline(transaction=False)
    pipeline.execute_command("ASKING")
    pipeline.execute_command("XLEN", "oona.normal")
    return int(pipeline.execute()[1])


def test_a_server_that_goes_is_not_needed(cluster: Cluster) -> None:
    begin = next(node for node in cluster.nodes if node is not cluster.home("oona.normal"))
    for node in cluster.nodes:
        node.client.config_set("cluster-require-full-coverage", "no")
    run = next(f"r{n}" for n in range(1000) if cluster.home(f"oona.run.r{n}") is not begin)
    growth = grow(f"redis://127.0.0.1:{begin.port}?cluster=true", run)
    growth.report()
    home = cluster.home("oona.normal")
    eventually("a report", lambda: growth._link.outbox.published == 1)
    before = home.client.xlen("oona.normal")
    begin.kill()
    for node in cluster.nodes:
        if node is not begin:
            client: Any = node.client
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    growth.report()
    eventually("another one, by the others", lambda: home.client.xlen("oona.normal") > before)
    growth.close()
    begin.start()


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (redis.ResponseError("MOVED 7 10.0.0.1:6379"), ("10.0.0.1:6379", True)),
        (redis.ResponseError("MOVED 7 ::1:6379"), ("[::1]:6379", True)),
        (redis.ResponseError("MOVED 7 :6380"), ("h:6380", True)),
        (redis.ResponseError("ASK 7 i.example:1"), ("i.example:1", False)),
        (redis.exceptions.MovedError("7 10.0.0.1:6379"), ("10.0.0.1:6379", True)),
        (redis.exceptions.AskError("7 10.0.0.1:6379"), ("10.0.0.1:6379", False)),
        (redis.ResponseError("OOM command not allowed"), None),
        (redis.ResponseError("CLUSTERDOWN 7 a:1 b"), None),
    ],
)
def test_where_an_answer_sends_us(
    error: redis.ResponseError, sent: tuple[str, bool] | None
) -> None:
    assert redirection(error, "h:1") == sent


@pytest.mark.parametrize(
    ("url", "nodes"),
    [
        ("redis://h", ()),
        ("redis://h:1/0?cluster=false", ()),
        ("redis://h?cluster=true", ("h:6379",)),
        ("redis://u:p%40@h:1?addr=i:2&addr=[::1]:3&dial_timeout=1s", ("h:1", "i:2", "[::1]:3")),
        ("rediss://[::1]:7/?cluster=true&ca=/ca.pem", ("[::1]:7",)),
    ],
)
def test_addresses(url: str, nodes: tuple[str, ...]) -> None:
    address = read_address(url)
    assert address.nodes == nodes
    assert address.cluster == bool(nodes)
    for hidden in ("addr", "cluster", "ca=", "dial"):
        assert hidden not in address.url
    if "@" in url:
        assert address.at("i:2") == "redis://u:p%40@i:2"
        assert "p%40" not in repr(address)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("redis://", "redis://"),
        ("redis:///0", "redis:///0"),
        ("unix:///run/bus?db=1&max_retries=2", "unix:///run/bus?db=1"),
        ("unix://u:p%40@/run/bus", "unix://u:p%40@/run/bus"),
        ("rediss://h/0?ca=/ca.pem", "rediss://h/0"),
    ],
)
def test_of_an_address_the_query_alone_is_read_here(url: str, read: str) -> None:
    assert read_address(url).url == read


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://h", "redis://"),
        ("pass@h:6379", "redis://"),
        ("redis:pass@h", "redis://"),
        ("redis://:pass@h?addr=i:1&pool_size=3", "pool_size"),
        ("redis://:pass@h?db=pass", "is db known"),
        ("rediss://h?ssl_cert_reqs=none", "ca="),
        ("rediss://h?ssl_check_hostname=false", "ca="),
        ("redis://s:26379?master_set=m", "Sentinel"),
        ("rediss://h?skip_verify=true", "ca="),
        ("redis://h?ca=/ca.pem", "rediss"),
        ("redis://h?addr=u:pass@i:1", "first host only"),
        ("redis://h?addr=i", "host:port"),
        ("unix:///s?cluster=true", "cluster"),
        ("redis://:pass@h:port", "cannot be read"),
        ("redis://:pass@[h", "cannot be read"),
    ],
)
def test_addresses_that_are_refused(url: str, why: str) -> None:
    with pytest.raises(weatherlight.ConfigError, match=why) as error:
        read_address(url)
    assert "pass" not in str(error.value)
