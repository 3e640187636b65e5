"""Loads mutations of kernels in a process that may take little memory.

usage: fuzz.py KERNELS WRITTEN COUNT

writes the files to the folder WRITTEN, and prints the names of those that were loaded.
Whatever is raised but a `KernelError` ends it.
"""

import json
import os
import random
import resource
import sys
from pathlib import Path

import torch

from weatherlight.kernels import KernelError, load, try_kernel

ROOM = 768 << 20
"""Bytes beyond what the process has once PyTorch is there."""
SMALL = 1 << 16
"""Kernels with fewer multiply-adds are tried as well."""


def main() -> None:
    """Fuzzes the loader."""
    kernels, written, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    files = [path.read_bytes() for path in sorted(kernels.glob("*.forged"))]
    files = [file for file in files if len(file) < 1 << 15]
    torch.set_num_threads(1)
    try_kernel(load(files[0]))
    limit()
    draw = random.Random(1)
    loaded: list[str] = []
    for i in range(count):
        file = mutated(draw, files)
        (written / f"{i}.onnx").write_bytes(file)
        try:
            kernel = load(file)
        except KernelError:
            continue
        loaded.append(str(i))
        if kernel.multiply_adds > SMALL:
            continue
        try:
            try_kernel(kernel)
        except KernelError:
            continue
    print(json.dumps(loaded))


def limit() -> None:
    """Bounds the memory from here on."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * os.sysconf("SC_PAGE_SIZE") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def mutated(draw: random.Random, files: list[bytes]) -> bytes:
    """A kernel with some damage."""
    file = bytearray(draw.choice(files))
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        damage = draw.choice(DAMAGES)
        damage(draw, file, files)
    return bytes(file)


def flip(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Flips a bit."""
    if file:
        file[draw.randrange(len(file))] ^= 1 << draw.randrange(8)


def overwrite(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Writes a byte that means something to protobuf."""
    if file:
        file[draw.randrange(len(file))] = draw.choice((0, 1, 2, 7, 8, 9, 16, 0x7F, 0x80, 0xFF))


def cut(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Takes a piece out."""
    start = draw.randrange(len(file) + 1)
    del file[start : start + draw.randrange(1, 64)]


def repeat(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Says a piece twice."""
    start = draw.randrange(len(file) + 1)
    piece = file[start : start + draw.randrange(1, 64)]
    file[start:start] = piece * draw.choice((1, 1, 2, 100))


def splice(draw: random.Random, file: bytearray, files: list[bytes]) -> None:
    """Goes on as another kernel."""
    other = draw.choice(files)
    del file[draw.randrange(len(file) + 1) :]
    file += other[draw.randrange(len(other)) :]


def join(draw: random.Random, file: bytearray, files: list[bytes]) -> None:
    """Puts another kernel behind, which protobuf merges."""
    file += draw.choice(files)


def insert(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Puts a large number or an odd field somewhere."""
    at = draw.randrange(len(file) + 1)
    file[at:at] = draw.choice(
        (
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\xff\xff\xff\x7f",
            b"\x80\x80\x80\x80\x10",
            b"\x6a\x00",
            b"\x32\x00",
            b"\xca\x01\x00",
        )
    )


SWAPS = (
    b"Add", b"Sub", b"Mul", b"Div", b"Max", b"Min", b"Pow", b"And", b"Erf", b"Exp", b"Abs",
    b"Relu", b"Tanh", b"Sqrt", b"Conv", b"Gemm", b"Clip", b"Where", b"Slice", b"Split",
    b"MatMul", b"Expand", b"Gather", b"axis", b"axes", b"pads", b"perm",
)  # fmt: skip


def rename(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Makes an operator or an attribute another one of a name as long."""
    word = draw.choice(SWAPS)
    at = file.find(word)
    if at >= 0:
        others = [other for other in SWAPS if len(other) == len(word)]
        file[at : at + len(word)] = draw.choice(others)


def resize(draw: random.Random, file: bytearray, _: list[bytes]) -> None:
    """Makes a small number another small number, such as a size."""
    small = [i for i, byte in enumerate(file[:4096]) if 0 < byte < 64]
    if small:
        file[draw.choice(small)] = draw.randrange(0, 128)


DAMAGES = (flip, overwrite, cut, repeat, splice, join, insert, rename, resize)

if __name__ == "__main__":
    main()
