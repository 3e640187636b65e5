"""The bounds of the kernel profile, and the shapes that they hold for.

A shape is a tuple of sizes, in which `BATCH` is the dimension that is free until the
kernel runs. What would pass a bound is refused before memory is taken for it.
"""

from math import prod

from weatherlight.kernels.errors import KernelInvalidError

Shape = tuple[int, ...]

BATCH = -1

MAX_FILE_BYTES = 1 << 24
MAX_STRUCTURE_BYTES = 1 << 20
MAX_FIELDS = 1 << 16
MAX_NODES = 1024
MAX_INITIALIZERS = 1024
MAX_OPERANDS = 64
MAX_METADATA = 64
MAX_TEXT_BYTES = 1 << 16
MAX_NAME_BYTES = 128
MAX_RANK = 8
MIN_SLOT_RANK = 2
MAX_SLOT_RANK = 4
MAX_DIM = 1 << 20
MAX_LIST = 64
MAX_ROW_ELEMENTS = 1 << 22
MAX_ROW_WORK = 1 << 30
MAX_BATCH_ELEMENTS = 1 << 28


def row_size(shape: Shape) -> int:
    """The elements of a value for one example; every size is within the bounds."""
    return prod(size for size in shape if size != BATCH)


def check_shape(what: str, shape: Shape) -> None:
    """Refuses a shape that no value of a kernel may have."""
    if len(shape) > MAX_RANK:
        raise KernelInvalidError(
            f"{what} has {len(shape)} dimensions, at most {MAX_RANK} are allowed"
        )
    for size in shape:
        if size != BATCH and not 1 <= size <= MAX_DIM:
            raise KernelInvalidError(
                f"{what} has a dimension of {size}, allowed are 1 to {MAX_DIM}"
            )
    if shape.count(BATCH) > 1:
        raise KernelInvalidError(f"{what} grows with the square of the batch")
    if row_size(shape) > MAX_ROW_ELEMENTS:
        raise KernelInvalidError(f"{what} has more than {MAX_ROW_ELEMENTS} elements")


def check_name(what: str, name: str) -> None:
    """Refuses a name that is empty, long or not plain.

    A comma would break the list of frozen names.
    """
    if not 1 <= len(name) <= MAX_NAME_BYTES:
        raise KernelInvalidError(
            f"{what} name of {len(name)} characters, allowed are 1 to {MAX_NAME_BYTES}"
        )
    if not all("!" <= c <= "~" and c != "," for c in name):
        raise KernelInvalidError(f"{what} name {name!r} is not plain ASCII without commas")


def check_text(what: str, text: str) -> None:
    """Refuses a text that is too long."""
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise KernelInvalidError(f"{what} of {size} bytes, at most {MAX_TEXT_BYTES} are allowed")
