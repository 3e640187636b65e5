"""Reads kernels and holds them to the kernel profile of docs/trainers.md.

It has Python's standard library alone. Everything that the page gives as a table
is read from the page: a table that is wrong, or lacks a row, shows as a kernel
that breaks the profile.

usage: kernel_profile.py PAGE

reads lines of {"name", "path", "shape"}: a kernel file, and one example of its slot;
prints for each {"name", "problem", "operators", "metadata", "parameters", "statistics"},
where the last two are {name: {"shape", "data"}} with the bytes in base64
"""

import base64
import json
import math
import re
import struct
import sys

FLOAT, INT64, BOOL = 1, 7, 9
TYPES = {FLOAT: ("F", 4), INT64: ("I", 8), BOOL: ("B", 1)}
ATTRIBUTE_TYPES = {"float": (1, "f"), "int": (2, "i"), "ints": (7, "ints")}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# The published numbers of the fields that the profile may have, and how each is read.
SCHEMA = {
    "ModelProto": {
        1: ("ir_version", int), 2: ("producer_name", str), 3: ("producer_version", str), 4: ("domain", str),
        5: ("model_version", int), 6: ("doc_string", str), 7: ("graph", "GraphProto"),
        8: ("opset_import", ["OperatorSetIdProto"]), 14: ("metadata_props", ["StringStringEntryProto"]),
    },
    "OperatorSetIdProto": {1: ("domain", str), 2: ("version", int)},
    "StringStringEntryProto": {1: ("key", str), 2: ("value", str)},
    "GraphProto": {
        1: ("node", ["NodeProto"]), 2: ("name", str), 5: ("initializer", ["TensorProto"]), 10: ("doc_string", str),
        11: ("input", ["ValueInfoProto"]), 12: ("output", ["ValueInfoProto"]),
    },
    "NodeProto": {
        1: ("input", [str]), 2: ("output", [str]), 3: ("name", str), 4: ("op_type", str),
        5: ("attribute", ["AttributeProto"]), 6: ("doc_string", str), 7: ("domain", str),
    },
    "AttributeProto": {
        1: ("name", str), 2: ("f", float), 3: ("i", int), 8: ("ints", [int]), 13: ("doc_string", str), 20: ("type", int),
    },
    "TensorProto": {1: ("dims", [int]), 2: ("data_type", int), 8: ("name", str), 9: ("raw_data", bytes), 12: ("doc_string", str)},
    "ValueInfoProto": {1: ("name", str), 2: ("type", "TypeProto"), 3: ("doc_string", str)},
    "TypeProto": {1: ("tensor_type", "TypeProto.Tensor")},
    "TypeProto.Tensor": {1: ("elem_type", int), 2: ("shape", "TensorShapeProto")},
    "TensorShapeProto": {1: ("dim", ["TensorShapeProto.Dimension"])},
    "TensorShapeProto.Dimension": {1: ("dim_value", int), 2: ("dim_param", str)},
}


class Problem(Exception):
    """What breaks the profile."""


def want(holds, text, *args):
    if not holds:
        raise Problem(text % args)


# --- the page ---


def words(cell):
    return re.findall(r"`([^`]+)`", cell)


def table(page, name):
    """The rows below the head of a table that stands between two comments."""
    text = page.split(f"<!-- {name}: ", 1)[1].split(f"<!-- end of {name} -->", 1)[0]
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


class Profile:
    def __init__(self, page):
        self.file = {row[0]: words(row[1])[0] for row in table(page, "kernel file")}
        self.fields = {words(row[0])[0]: set(words(row[1])) for row in table(page, "kernel fields")}
        self.metadata = {words(row[0])[0]: row[1] for row in table(page, "kernel metadata")}
        self.operators = {words(row[0])[0]: Operator(row) for row in table(page, "kernel operators")}
        self.bounds = {row[0]: at_most(row[1]) for row in table(page, "kernel bounds")}


def at_most(cell):
    number = cell.split(" to ")[-1]
    return 2 ** int(number[2:]) if number.startswith("2^") else int(number)


class Operator:
    def __init__(self, row):
        self.forged = row[1] == "yes"
        self.inputs, self.outputs = signature(row[2]), signature(row[3])
        self.attributes = dict(re.findall(r"`(\w+)` (\w+)", row[4]))


def signature(cell):
    """The least number of values, and the type of each that there may be."""
    many = re.fullmatch(r"(\d+) to (\d+) (\w)", cell)
    if many:
        return int(many[1]), many[3] * int(many[2])
    values = cell.split()
    return sum(not value.endswith("?") for value in values), "".join(value[0] for value in values)


# --- protobuf ---


def varint(data, at):
    value = shift = 0
    while True:
        want(at < len(data) and shift < 64, "a number is cut off")
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def signed(value):
    return value - (1 << 64) if value >= 1 << 63 else value


def wire(data):
    """Each field of a message: its number, its wire type and its content."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            content, at = varint(data, at)
        else:
            want(kind in (FIXED64, BYTES, FIXED32), "wire type %d", kind)
            size, at = varint(data, at) if kind == BYTES else ({FIXED64: 8, FIXED32: 4}[kind], at)
            content, at = data[at:at + size], at + size
            want(at <= len(data), "a field is cut off")
        yield number, kind, content


def decode(profile, name, data):
    """A message as a dict: lists for repeated fields, nothing for what is absent."""
    message = {}
    for number, kind, content in wire(data):
        want(number in SCHEMA[name], "%s has field %d", name, number)
        field, reads = SCHEMA[name][number]
        want(field in profile.fields[name], "%s has %s", name, field)
        if isinstance(reads, list):
            message.setdefault(field, []).extend(repeated(profile, reads[0], kind, content))
        else:
            want(field not in message, "%s has %s twice", name, field)
            message[field] = single(profile, reads, kind, content)
    return message


def repeated(profile, reads, kind, content):
    if reads is not int or kind != BYTES:
        return [single(profile, reads, kind, content)]
    numbers, at = [], 0
    while at < len(content):
        value, at = varint(content, at)
        numbers.append(signed(value))
    return numbers


def single(profile, reads, kind, content):
    want(kind == {int: VARINT, float: FIXED32}.get(reads, BYTES), "wire type %d", kind)
    if reads is int:
        return signed(content)
    if reads is float:
        return struct.unpack("<f", content)[0]
    if reads is bytes:
        return content
    return content.decode() if reads is str else decode(profile, reads, content)


# --- kernels ---


class Kernel:
    """A kernel file that keeps to the profile."""

    def __init__(self, profile, data, shape):
        self.profile, self.shape = profile, shape
        self.bound("bytes of a file", len(data))
        model = decode(profile, "ModelProto", data)
        self.graph = model["graph"]
        self.metadata = {}
        self.check_header(model)
        self.read_metadata(model.get("metadata_props", []))
        self.tensors = {}
        for index, tensor in enumerate(self.graph.get("initializer", [])):
            self.read_tensor(index, tensor)
        self.types = {name: TYPES[tensor["data_type"]][0] for name, tensor in self.tensors.items()}
        self.types[profile.file["graph input"]] = "F"
        self.frozen = {name for name in self.metadata.get("frozen", "").split(",") if name}
        want(all(self.types.get(name) == "F" for name in self.frozen & set(self.tensors)), "frozen names an initializer of integers")
        want(self.frozen <= set(self.tensors), "frozen names no initializer")
        self.statistics, self.used = [], set()
        nodes = self.graph["node"]
        self.bound("nodes", len(nodes))
        for index, node in enumerate(nodes):
            self.read_node(index, node, last=index == len(nodes) - 1)
        want(set(self.tensors) <= self.used, "initializers without use: %s", sorted(set(self.tensors) - self.used))

    def bound(self, what, value):
        want(value <= self.profile.bounds[what], "%d %s", value, what)

    def check_header(self, model):
        file = self.profile.file
        want(model["ir_version"] == int(file["IR version"]), "IR version %d", model["ir_version"])
        opsets = [(opset.get("domain", ""), opset["version"]) for opset in model["opset_import"]]
        want(opsets == [("", int(file["operator set"]))], "operator sets %s", opsets)
        want(model["producer_name"] == file["producer"], "producer %s", model["producer_name"])
        for end in ("input", "output"):
            values = self.graph[end]
            want([value["name"] for value in values] == [file["graph " + end]], "graph %s %s", end, values)
            tensor = values[0]["type"]["tensor_type"]
            want(tensor["elem_type"] == int(file["element type of both"]), "element type of the %s", end)
            want(tensor["shape"]["dim"] == [{"dim_param": file["batch"]}] + [{"dim_value": size} for size in self.shape],
                 "%s is %s", end, tensor["shape"]["dim"])

    def read_metadata(self, entries):
        self.bound("metadata entries", len(entries))
        for entry in entries:
            want(entry["key"] not in self.metadata, "metadata %s twice", entry["key"])
            self.metadata[entry["key"]] = entry.get("value", "")
            self.bound("bytes of a metadata value or another text", len(entry.get("value", "").encode()))
        for key, forged in self.profile.metadata.items():
            want(key in self.metadata or forged != "always", "no metadata %s", key)
        want(set(self.metadata) <= set(self.profile.metadata), "metadata %s", sorted(self.metadata))
        want(self.graph["name"] == self.metadata["blueprint_name"], "the graph is %s", self.graph["name"])

    def read_tensor(self, index, tensor):
        name = tensor["name"]
        want(re.fullmatch(rf"[a-z]+_{index}", name), "initializer %d is %s", index, name)
        kind, dims, raw = tensor["data_type"], tensor.get("dims", []), tensor["raw_data"]
        want(kind in TYPES, "initializer %s has type %d", name, kind)
        want(all(1 <= size <= self.profile.bounds["size of a dimension"] for size in dims), "initializer %s is %s", name, dims)
        self.bound("dimensions of a value", len(dims))
        want(len(raw) == TYPES[kind][1] * math.prod(dims), "initializer %s has %d bytes", name, len(raw))
        if kind == FLOAT:
            values = struct.unpack(f"<{math.prod(dims)}f", raw)
            want(all(map(math.isfinite, values)), "initializer %s is not finite", name)
        self.tensors[name] = tensor

    def read_node(self, index, node, last):
        want(not node.get("domain") and not node.get("name"), "node %d has a domain or a name", index)
        kind = node["op_type"]
        operator = self.profile.operators.get(kind)
        want(operator and operator.forged, "operator %s", kind)
        self.check_inputs(kind, operator, node.get("input", []))
        self.check_attributes(kind, operator, node.get("attribute", []))
        output = self.profile.file["graph output"] if last else f"{kind.lower()}_{index}"
        want(node["output"] == [output], "%s has outputs %s", kind, node["output"])
        want(output not in self.types, "%s is computed twice", output)
        self.types[output] = operator.outputs[1][0]

    def check_inputs(self, kind, operator, inputs):
        least, types = operator.inputs
        want(least <= len(inputs) <= len(types), "%s has %d inputs", kind, len(inputs))
        for place, name in enumerate(inputs):
            if not name and place >= least:
                continue
            want(name in self.types, "%s reads %s, which nothing gives", kind, name)
            want(self.types[name] == types[place], "input %d of %s is of type %s", place, kind, self.types[name])
            want(not self.constant(kind, place) or name in self.tensors, "input %d of %s is computed", place, kind)
            if self.constant(kind, place):
                self.frozen.add(name)
            if kind == "BatchNormalization" and place >= 3:
                self.statistics.append(name)
        self.used |= set(inputs)

    @staticmethod
    def constant(kind, place):
        """Whether an input is a constant although metadata may not say so."""
        return place in {"BatchNormalization": (3, 4), "Clip": (1, 2), "Dropout": (1,), "Pad": (2,)}.get(kind, ())

    @staticmethod
    def check_attributes(kind, operator, attributes):
        names = [attribute["name"] for attribute in attributes]
        want(len(names) == len(set(names)), "%s has an attribute twice", kind)
        for attribute in attributes:
            name = attribute["name"]
            want(name in operator.attributes, "%s has attribute %s", kind, name)
            number, field = ATTRIBUTE_TYPES[operator.attributes[name]]
            want(attribute["type"] == number and set(attribute) == {"name", "type", field}, "%s of %s is %s", name, kind, attribute)

    def parameters(self):
        return [name for name in self.tensors if self.types[name] == "F" and name not in self.frozen]

    def contents(self, names):
        return {name: {"shape": self.tensors[name].get("dims", []), "data": base64.b64encode(self.tensors[name]["raw_data"]).decode()}
                for name in names}

    def report(self):
        return {
            "operators": sorted({node["op_type"] for node in self.graph["node"]}), "metadata": sorted(self.metadata),
            "parameters": self.contents(self.parameters()), "statistics": self.contents(self.statistics),
        }


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        profile = Profile(file.read())
    for line in sys.stdin:
        case = json.loads(line)
        with open(case["path"], "rb") as file:
            data = file.read()
        answer = {"name": case["name"], "problem": ""}
        try:
            answer.update(Kernel(profile, data, case["shape"]).report())
        except (Problem, KeyError, UnicodeDecodeError) as why:
            answer["problem"] = f"{type(why).__name__}: {why}"
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
