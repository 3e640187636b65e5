"""A service of one's own, for a machine that has none running."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from weatherlight.errors import ConfigError

BINARY = "esper-weatherlight-service"
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
# Ends the service when this process does, however it ends: the pipe closes then.
_KEEPER = """
exec 3<&0
"$0" </dev/null 3<&- & child=$!
(read -r _ <&3; kill "$child") & reader=$!
wait "$child"; code=$?
kill "$reader" 2>/dev/null
exit "$code"
"""


@dataclass
class LocalService:
    """A service with a bus of its own, in a folder that goes with it."""

    url: str
    secret: str = field(repr=False)
    http: str
    folder: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    def stop(self) -> None:
        """Stops it and removes its folder; more than once does no harm."""
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.stop)


def find() -> Path:
    """The service's binary.

    Raises:
        ConfigError: it is not there; the text says how to get it.
    """
    named = os.environ.get("WEATHERLIGHT_BINARY", "")
    if named:
        if not os.access(named, os.X_OK):
            raise ConfigError(f"WEATHERLIGHT_BINARY={named} is no program that can be run")
        return Path(named)
    if found := shutil.which(BINARY):
        return Path(found)
    for folder in Path(__file__).resolve().parents:
        if os.access(folder / "bin" / BINARY, os.X_OK) and (folder / "go.mod").exists():
            return folder / "bin" / BINARY
    raise ConfigError(
        f'bus="local" needs the program {BINARY}, which is neither on the PATH nor named by '
        "WEATHERLIGHT_BINARY. In a clone of github.com/esper-lite/weatherlight, with Go: "
        f"go install ./cmd/{BINARY}, with $(go env GOPATH)/bin on the PATH, or make build, "
        "which puts it into bin/"
    )


def start() -> LocalService:
    """Starts a service with the embedded broker and a secret that is made up.

    Raises:
        ConfigError: the program is not there, or does not start.
    """
    binary = find()
    folder = Path(tempfile.mkdtemp(prefix="weatherlight-"))
    secret = secrets.token_hex(32)
    settings = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "ESPER_LEYLINE_SECRET": secret,
        "REDIS_URL": "embedded:",
        "WEATHERLIGHT_HTTP_ADDR": "127.0.0.1:0",
        "WEATHERLIGHT_INSTANCE": "local",
        **{name: text for name, text in os.environ.items() if _concerns_growth(name)},
    }
    log = folder / "service.log"
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603  (the program is our own)
            ["/bin/sh", "-c", _KEEPER, str(binary)],
            cwd=folder,
            env=settings,
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=written,
        )
    ready = _await_ready(process, log)
    if ready is None:
        told = log.read_text(errors="replace")[-1000:].replace(secret, "***")
        process.kill()
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"{binary} did not start: {told}")
    service = LocalService(ready["bus"], secret, ready["http"], folder, process)
    atexit.register(service.stop)
    return service


def _concerns_growth(name: str) -> bool:
    return name.startswith(("TAMIYO_", "KASMINA_", "KARN_", "TEZZERET_")) and "DIR" not in name


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> dict[str, str] | None:
    until = time.monotonic() + _START_SECONDS
    pause = threading.Event()
    while time.monotonic() < until and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and record.get("msg") == "ready":
                return {name: str(record.get(name, "")) for name in ("bus", "http")}
        pause.wait(0.02)
    return None
