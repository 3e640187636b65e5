"""What the loader allows is what the page of the profile says."""

import re

from weatherlight.kernels import limits, wire
from weatherlight.kernels.binding import Kind
from weatherlight.kernels.operators import OPERATORS

from .conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "trainers.md").read_text(encoding="utf-8")


def table(name: str) -> list[list[str]]:
    """The rows below the head of a table that stands between two comments."""
    text = PAGE.split(f"<!-- {name}: ", 1)[1].split(f"<!-- end of {name} -->", 1)[0]
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def signature(cell: str) -> tuple[int, str]:
    """How many inputs there must be, and the kinds that there may be."""
    many = re.fullmatch(r"(\d+) to (\d+) (\w)", cell)
    if many:
        return int(many[1]), many[3] * int(many[2])
    values = cell.split()
    return sum(not value.endswith("?") for value in values), "".join(v[0] for v in values)


LETTERS = {Kind.FLOATS: "F", Kind.INTS: "I", Kind.BOOLS: "B"}
TYPES = {wire.ATTRIBUTE_FLOAT: "float", wire.ATTRIBUTE_INT: "int", wire.ATTRIBUTE_INTS: "ints"}


def test_operators_are_those_of_the_page() -> None:
    on_page, ours = {}, {}
    for name, _, inputs, outputs, attributes, _ in table("kernel operators"):
        on_page[words(name)[0]] = (
            signature(inputs),
            signature(outputs)[1],
            dict(re.findall(r"`(\w+)` (\w+)", attributes)),
        )
    for name, operator in OPERATORS.items():
        ours[name] = (
            (operator.least, "".join(LETTERS[kind] for kind in operator.inputs)),
            LETTERS[operator.result] * operator.outputs,
            {key: TYPES[kind] for key, kind in operator.attributes.items()},
        )
    assert ours == on_page


def test_fields_are_those_of_the_page() -> None:
    on_page = {words(name)[0]: set(words(fields)) for name, fields in table("kernel fields")}
    ours = {
        made.__doc__.strip("`.") if made.__doc__ else "": {field.name for field in fields.values()}
        for made, fields in wire.FIELDS.items()
    }
    assert ours == on_page


BOUNDS = {
    "bytes of a file": limits.MAX_FILE_BYTES,
    "bytes besides the initializers' data": limits.MAX_STRUCTURE_BYTES,
    "protobuf fields, nested ones included": limits.MAX_FIELDS,
    "nodes": limits.MAX_NODES,
    "initializers": limits.MAX_INITIALIZERS,
    "inputs, and outputs, of a node": limits.MAX_OPERANDS,
    "metadata entries": limits.MAX_METADATA,
    "bytes of a metadata value or another text": limits.MAX_TEXT_BYTES,
    "bytes of a name": limits.MAX_NAME_BYTES,
    "dimensions of a value": limits.MAX_RANK,
    "dimensions of `host` and `seed`, batch included": limits.MAX_SLOT_RANK,
    "size of a dimension": limits.MAX_DIM,
    "numbers in a list of shapes, axes, sizes or pads": limits.MAX_LIST,
    "elements of all values of a pass, each example": limits.MAX_ROW_ELEMENTS,
    "multiply-adds of a pass, each example": limits.MAX_ROW_WORK,
    "elements that pooling windows visit in a pass, each example": limits.MAX_ROW_WORK,
    "elements of all values of a pass, whole batch": limits.MAX_BATCH_ELEMENTS,
}


def test_bounds_are_those_of_the_page() -> None:
    on_page = {}
    for what, bound in table("kernel bounds"):
        number = bound.split(" to ")[-1]
        on_page[what] = 2 ** int(number[2:]) if number.startswith("2^") else int(number)
    assert on_page == BOUNDS
