"""A trainer that raises signals in shared memory, with nothing but Python's
standard library.

It makes both segments, waits for the end of its input, raises each signal in the order of the prototype (flag
first), waits until it was taken and prints, as one JSON object a line, what it
raised, the bytes that it wrote, when by the monotonic clock, and how long the
writing took, in ms.

usage: trainer.py ROLLBACK_NAME EMERGENCY_NAME
"""

import json
import struct
import sys
import time
from multiprocessing import shared_memory

EMERGENCIES = [(1, "notice"), (3, "loss_spike"), (4, "rollback_deadline_\u00fc"), (2, "x" * 60)]
COOLDOWN = 0.6  # the longer of the two


def now():
    return time.monotonic_ns() // 1_000_000


def rollback(memory, at):
    memory[0] = 1
    struct.pack_into("<Q", memory, 8, at)


def emergency(memory, at, level, reason):
    text = reason.encode()[:53]
    memory[0] = 1
    memory[1] = level
    struct.pack_into("<Q", memory, 2, at)
    memory[10] = len(text)
    memory[11 : 11 + len(text)] = text


def raised(memory, write, **said):
    at = now()
    copy = bytearray(len(memory))  # the segment itself may be cleared at once
    write(copy, at)
    begun = now()
    write(memory, at)
    writing = now() - begun
    deadline = time.monotonic() + 30
    while memory[0] != 0 or any(memory):
        if time.monotonic() > deadline:
            raise RuntimeError("nobody took the signal")
        time.sleep(0.0005)
    print(json.dumps(dict(said, at=at, taken=now(), writing=writing, wrote=copy.hex())), flush=True)
    time.sleep(COOLDOWN)


def main():
    segments = [
        shared_memory.SharedMemory(name, create=True, size=size) for name, size in zip(sys.argv[1:], (16, 64))
    ]
    try:
        memory = [segment.buf for segment in segments]
        raised(memory[0], rollback, level=0, reason="")
        for level, reason in EMERGENCIES:
            raised(memory[1], lambda m, at: emergency(m, at, level, reason), level=level, reason=reason)
        raised(memory[0], rollback, level=0, reason="")
        memory.clear()
    finally:
        for segment in segments:
            segment.close()
            segment.unlink()


if __name__ == "__main__":
    main()
