"""Signals of a trainer in shared memory, for a service on the same machine.

with Signals() as signals:          # the names stand in the environment
    ...
    signals.emergency(4, "the loss is no number")

They need neither Redis nor a secret, and no run: a signal is about all of them. One of a
run goes over the bus, by `Growth.raise_emergency`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import struct
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weatherlight._wire.emergencies import checked_level
from weatherlight.errors import ConfigError, WeatherlightError

try:
    import fcntl
except ImportError:  # another system, which has no such memory either
    fcntl = None  # type: ignore[assignment]

ROLLBACK_ENV = "TOLARIA_ROLLBACK_SIGNAL_NAME"
EMERGENCY_ENV = "TOLARIA_EMERGENCY_SIGNAL_NAME"

_FOLDER = Path("/dev/shm")  # noqa: S108  (it is where the service looks)
_MAX_REASON = 53
_ROLLBACK = struct.Struct("<B7xQ")  # flag, time
_EMERGENCY = struct.Struct(f"<BBQB{_MAX_REASON}s")  # flag, level, time, length of the reason, it
_MAX_NAME = 255
_PROMISE_TRIES, _PROMISE_PAUSE = 100, 0.001


class Signals:
    """Makes the segments and raises signals in them. No call waits for the service.

    A segment holds one record: of two signals that are raised before the service took the
    first, the second is what it finds. A milder emergency does not take the place of a
    graver one. Segments that were made here are removed at the end of the program; those
    that were there are used, and stay.
    """

    def __init__(
        self,
        rollback: str | None = None,
        emergency: str | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Makes the segments that have a name.

        Args:
            rollback: Name of the rollback signal [TOLARIA_ROLLBACK_SIGNAL_NAME; none].
            emergency: Name of the emergency signal [TOLARIA_EMERGENCY_SIGNAL_NAME; none].
            environ: What stands for the environment.

        Raises:
            ConfigError: there is no name, or no such memory; the text says what to do.
        """
        named = {
            ROLLBACK_ENV: _path(rollback, ROLLBACK_ENV, environ),
            EMERGENCY_ENV: _path(emergency, EMERGENCY_ENV, environ),
        }
        if named[ROLLBACK_ENV] is None and named[EMERGENCY_ENV] is None:
            raise ConfigError(
                f"no signal has a name: set {ROLLBACK_ENV} and {EMERGENCY_ENV} as for the service"
            )
        if named[ROLLBACK_ENV] == named[EMERGENCY_ENV]:
            raise ConfigError("the two signals have one name")
        if fcntl is None or not _FOLDER.is_dir():
            raise ConfigError(
                f"this system has no {_FOLDER}, where the service looks for signals: raise "
                "emergencies over the bus, by raise_emergency of what grow returns"
            )
        self._lock = threading.Lock()
        self._closed = False
        self._segments: dict[str, _Segment] = {}
        sizes = {ROLLBACK_ENV: _ROLLBACK.size, EMERGENCY_ENV: _EMERGENCY.size}
        self._release = weakref.finalize(self, _release, self._segments, os.getpid())
        try:
            for name, path in named.items():
                if path is not None:
                    self._segments[name] = _Segment(path, sizes[name])
        except BaseException:
            self._release()
            raise

    def rollback(self) -> None:
        """Tells that the trainer went back to an earlier state."""
        with self._lock:
            segment = self._segment(ROLLBACK_ENV)
            segment.write(_ROLLBACK.pack(1, _now_ms()))
            segment.notify()

    def emergency(self, level: int, reason: str = "") -> None:
        """Raises an emergency, which is about all runs.

        Args:
            level: 1 NOTICE, 2 ELEVATED, 3 CONSERVATIVE (seeds on trial pause), 4 HALT.
            reason: Why, of which 53 bytes are told.
        """
        level = checked_level(level)
        # A character that would be cut in two is left out.
        text = reason.encode(errors="replace")[:_MAX_REASON].decode(errors="ignore").encode()
        with self._lock:
            segment = self._segment(EMERGENCY_ENV)
            flag, standing = segment.read(2)
            if flag == 1 and standing > level:
                return
            segment.write(_EMERGENCY.pack(1, level, _now_ms(), len(text), text))
            segment.notify()

    def close(self) -> None:
        """Lets go of the segments, and removes those that were made here."""
        with self._lock:
            self._closed = True
            self._release()

    def __enter__(self) -> Signals:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Lets go of the segments."""
        self.close()

    def __reduce__(self) -> Any:
        """Refuses: another process would remove what this one needs."""
        raise TypeError("signals belong to the process that made them")

    def _segment(self, name: str) -> _Segment:
        if self._closed:
            raise WeatherlightError("the signals are closed")
        if name not in self._segments:
            raise ConfigError(f"this signal has no name: set {name} as for the service")
        return self._segments[name]


class _Segment:
    """A file of shared memory with a promise to notify.

    It is none of multiprocessing's: that would hand it to a tracker, which removes what it
    did not make, and tells of what it did not lose.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._file, self._made = _opened(path)
        try:
            found = os.fstat(self._file)
            if self._made:
                os.ftruncate(self._file, size)
            elif not stat.S_ISREG(found.st_mode) or found.st_size < size:
                raise ConfigError(f"{path} is there and is no signal of {size} bytes: remove it")
            self._memory = mmap.mmap(self._file, size)
            self._promise()
        except BaseException:
            self.close(self._made)
            raise

    def _promise(self) -> None:
        """A lock that the system takes back, however this process ends.

        The service asks by a lock of its own, for an instant. Without the promise it looks
        at the segment every few milliseconds.
        """
        for _ in range(_PROMISE_TRIES):
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            time.sleep(_PROMISE_PAUSE)

    def read(self, size: int) -> bytes:
        return self._memory[:size]

    def write(self, record: bytes) -> None:
        """Writes a record in one step, so that none is found half written for long.

        In two, whichever came first could be taken before this thread got to the other: a
        reason would be missing, or what is left would count as another signal.
        """
        self._memory[:] = record

    def notify(self) -> None:
        """Tells the service, which otherwise looks within a fifth of a second."""
        with contextlib.suppress(OSError):
            os.utime(self._file)

    def close(self, remove: bool) -> None:
        if remove:
            with contextlib.suppress(OSError):
                # Somebody else may have made another one of that name.
                if os.path.samestat(os.stat(self._path), os.fstat(self._file)):
                    os.unlink(self._path)
        if hasattr(self, "_memory"):
            self._memory.close()
        os.close(self._file)

    @property
    def made(self) -> bool:
        return self._made


def _release(segments: dict[str, _Segment], owner: int) -> None:
    """Closes segments; a fork of the process that made them removes nothing."""
    for segment in segments.values():
        segment.close(segment.made and os.getpid() == owner)
    segments.clear()


def _opened(path: Path) -> tuple[int, bool]:
    """Opens a segment, and makes it where there is none."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with contextlib.suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600), True
        return os.open(path, flags), False
    except OSError as error:
        raise ConfigError(f"{path} cannot be made or opened: {error.strerror}") from error


def _path(name: str | None, variable: str, environ: Mapping[str, str]) -> Path | None:
    """Where a segment lies; POSIX writes its name with a slash in front."""
    name = (environ.get(variable, "") if name is None else name).strip().removeprefix("/")
    if not name:
        return None
    if "/" in name or "\0" in name or name in (".", "..") or len(name.encode()) > _MAX_NAME:
        raise ConfigError(f"{name[:80]!r} is no name of shared memory")
    return _FOLDER / name


def _now_ms() -> int:
    """Milliseconds of the clock that both sides share, whatever is done to the date."""
    return time.monotonic_ns() // 1_000_000
