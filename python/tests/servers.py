"""Real servers for tests: Redis, and the service."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weatherlight._bus import servers

ROOT = Path(__file__).resolve().parents[2]
SECRET = "s3cret-of-the-tests"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, done: Callable[[], Any], seconds: float = 60) -> Any:
    """Waits until something holds, and returns it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if result := done():
            return result
        time.sleep(0.01)
    raise AssertionError(f"not in {seconds} s: {what}")


def certified(certificate: Path, key: Path, address: str = "127.0.0.1") -> None:
    """Makes a certificate of an address that vouches for itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bus of the tests")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(*form, serialization.NoEncryption()))


class Redis:
    """A Redis of its own, which can be stopped and started again."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.port, self._folder, self._args = free_port(), folder, args
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        command = shutil.which("redis-server")
        assert command, "apt-get install redis-server"
        args = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [command, *args, "--save", "", *self._args], stdout=subprocess.DEVNULL
        )
        self.client = redis.Redis.from_url(self.url, socket_timeout=10)
        eventually("Redis answers", self._answers)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Cluster:
    """Three servers, each with a third of the keys."""

    def __init__(self, folder: Path) -> None:
        self.nodes = []
        for at in range(3):
            (folder / f"node-{at}").mkdir()
            args = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
            announced = ("--cluster-announce-ip", "127.0.0.1")
            self.nodes.append(Redis(folder / f"node-{at}", *args, *announced))
        for at, node in enumerate(self.nodes):
            first, last = at * 16384 // 3, (at + 1) * 16384 // 3 - 1
            self.tell(node, "ADDSLOTSRANGE", first, last)
            self.tell(node, "SET-CONFIG-EPOCH", at + 1)
        port = self.nodes[0].client.config_get("cluster-port")["cluster-port"]
        for node in self.nodes[1:]:
            self.tell(node, "MEET", "127.0.0.1", self.nodes[0].port, port)
        eventually("the cluster is up", lambda: all(map(self._up, self.nodes)))
        eventually("the nodes agree", lambda: len({self._owners(n) for n in self.nodes}) == 1)
        head, *others = (f"127.0.0.1:{node.port}" for node in self.nodes)
        self.url = f"redis://{head}?" + "&".join(f"addr={other}" for other in others)

    def tell(self, node: Redis, *words: Any) -> Any:
        return node.client.execute_command("CLUSTER", *words)

    def _up(self, node: Redis) -> bool:
        told = bytes(self.tell(node, "INFO")).decode()
        return "cluster_state:ok" in told and "cluster_known_nodes:3" in told

    def _owners(self, node: Redis) -> str:
        lines = bytes(self.tell(node, "NODES")).decode().splitlines()
        return "\n".join(sorted(" ".join([row.split()[0], *row.split()[6:]]) for row in lines))

    def home(self, key: str) -> Redis:
        """The server that has a key."""
        return next(node for node in self.nodes if self._has(node, key))

    def _has(self, node: Redis, key: str) -> bool:
        try:
            node.client.exists(key)
        except redis.ResponseError as error:
            if servers.redirection(error, "") is None:
                raise
            return False
        return True

    def begin_move(self, key: str) -> Redis:
        """Begins to hand the slot of a key to another server; what it holds is lost."""
        home = self.home(key)
        other = self.nodes[(self.nodes.index(home) + 1) % 3]
        slot = self.tell(home, "KEYSLOT", key)
        self.tell(other, "SETSLOT", slot, "IMPORTING", self.tell(home, "MYID"))
        self.tell(home, "SETSLOT", slot, "MIGRATING", self.tell(other, "MYID"))
        for held in self.tell(home, "GETKEYSINSLOT", slot, 100):
            home.client.delete(held)
        return other

    def end_move(self, key: str, other: Redis) -> None:
        slot, identity = self.tell(other, "KEYSLOT", key), self.tell(other, "MYID")
        for node in (other, *self.nodes):
            self.tell(node, "SETSLOT", slot, "NODE", identity)

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


def binary() -> Path:
    """The service: WEATHERLIGHT_BINARY, or the one in bin/."""
    named = os.environ.get("WEATHERLIGHT_BINARY")
    path = Path(named) if named else ROOT / "bin" / "esper-weatherlight-service"
    assert path.exists(), f"{path} is not there: make build"
    return path


class Service:
    """The service on a Redis."""

    def __init__(self, folder: Path, url: str, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "service.log"
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ESPER_LEYLINE_SECRET": SECRET,
            "REDIS_URL": url,
            "WEATHERLIGHT_HTTP_ADDR": "127.0.0.1:0",
            "TAMIYO_STALL_EPOCHS": "2",
            **environ,
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(binary())], cwd=folder, env=settings, stderr=log, stdout=log
            )
        self.http = eventually("the service is ready", lambda: self.logged("ready"))["http"]

    def logged(self, message: str) -> Any:
        assert self._process.poll() is None, self._log.read_text()[-4000:]
        for line in self._log.read_text().splitlines():
            record = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if record.get("msg") == message:
                return record
        return None

    def get(self, path: str) -> Any:
        return json.loads(self.text(path))

    def text(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
