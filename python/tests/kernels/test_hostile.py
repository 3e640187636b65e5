"""Files that are no kernels are refused with a typed error, within bounded memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from weatherlight.kernels import KernelError, KernelInvalidError, load, wire
from weatherlight.kernels.limits import MAX_FILE_BYTES

from .building import file, model, node
from .conftest import REPOSITORY, Engine

CORPUS = REPOSITORY / "testdata" / "kernels" / "hostile"
MUTATIONS = 10_000


def test_every_file_of_the_hostile_corpus_is_refused() -> None:
    reasons = json.loads((CORPUS / "reasons.json").read_text())
    assert len(reasons) > 100
    refused = [name for name in reasons if is_refused((CORPUS / name).read_bytes())]
    assert refused == list(reasons)


def is_refused(data: bytes) -> bool:
    try:
        load(data)
    except KernelInvalidError as error:
        return error.reason == 4 and str(error) != ""
    return False


PLAIN = [node("Relu", "host")]


SPOILT = {
    "a file beyond the bound": (bytes(MAX_FILE_BYTES + 1), "bytes"),
    "a bomb of empty messages": (b"\x42\x00" * (MAX_FILE_BYTES // 4), "65536 fields"),
    "a bomb of empty nodes": (b"\x3a\xfe\xff\xff\x03" + b"\x0a\x00" * 4_194_303, "65536 fields"),
    "a long text": (wire.encode(wire.Model(doc_string="x" * (2 << 20))), "besides"),
    "a long list": (b"\x3a\x4c\x2a\x4a\x0a\x48" + b"\x01" * 72, "more than 64 numbers"),
    "a number without an end": (b"\x08" + b"\xff" * 11, "64 bits"),
    "a text that is none": (b"\x12\x01\xff", "utf-8"),
    "a length beyond the file": (b"\x12\xff\xff\xff\xff\x7f", "cut off"),
    "a field of number 0": (b"\x00\x00", "field 0"),
    "external data": (b"\x3a\x04\x2a\x02\x6a\x00", "field 13"),
}


@pytest.mark.parametrize("name", list(SPOILT))
def test_a_file_that_goes_on_with_these_bytes_is_refused(name: str) -> None:
    data, reason = SPOILT[name]
    plain = file([4], PLAIN)
    load(plain)
    with pytest.raises(KernelInvalidError, match=reason):
        load(plain + data)


def test_many_nodes_are_refused() -> None:
    nodes = [node("Relu", f"v{i}", f"v{i + 1}") for i in range(10_000)]
    nodes[0].input[0], nodes[-1].output[0] = "host", "seed"
    with pytest.raises(KernelInvalidError, match="10000 nodes"):
        load(file([4], nodes))


def test_padding_that_pytorch_would_store_is_refused() -> None:
    """The service pads nothing, so that its bounds do not see this."""
    big = 1 << 20
    spoilt = model([1, 2, 2], PLAIN, output=[1, 3, 3])
    assert spoilt.graph is not None
    spoilt.graph.node = [
        node("MaxPool", "host", kernel_shape=[big, 1], pads=[big - 1, 0, 0, 0], strides=[1, 1])
    ]
    with pytest.raises(KernelInvalidError):
        load(wire.encode(spoilt))


def test_a_fixed_dimension_that_is_free_too_is_refused() -> None:
    spoilt = model([4], PLAIN)
    assert spoilt.graph is not None
    info = spoilt.graph.input[0]
    assert info.type is not None
    assert info.type.tensor_type is not None
    assert info.type.tensor_type.shape is not None
    info.type.tensor_type.shape.dim[0].dim_value = 3
    with pytest.raises(KernelInvalidError, match="fixed and free"):
        load(wire.encode(spoilt))


def test_fuzzed_files_are_refused_or_loaded_as_the_service_does(
    forged_folder: Path, engine: Engine, tmp_path: Path
) -> None:
    """The process that loads them may take little memory."""
    script = Path(__file__).with_name("fuzz.py")
    arguments = [str(script), str(forged_folder), str(tmp_path), str(MUTATIONS)]
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    loaded = set(json.loads(done.stdout))
    verdicts = json.loads(engine("judge", tmp_path))
    assert len(verdicts) == MUTATIONS
    taken = {name for name, reason in verdicts.items() if not reason}
    assert 0 < len(taken) < MUTATIONS
    assert loaded == taken


def test_errors_are_of_one_family() -> None:
    assert issubclass(KernelInvalidError, KernelError)
    with pytest.raises(KernelError):
        load(b"")
