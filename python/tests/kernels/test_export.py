"""A kernel within a network that is written as ONNX."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from weatherlight._graft.export import exported
from weatherlight.kernels import load

from .comparing import FORWARD, difference
from .conftest import Case


def test_every_forged_kernel_can_be_written_with_a_network(
    forged: list[Case], tmp_path: Path
) -> None:
    runtime: Any = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not here")
    importlib.import_module("onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    problems = []
    for case in forged:
        kernel = load(case.file).eval()
        host = torch.cat([case.host, case.host.flip(0)])  # another batch than that of the trace
        path = str(tmp_path / "network.onnx")
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exported(kernel, (case.host,), path)
            session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            given = np.array(host.tolist(), dtype=np.float32)
            theirs = torch.tensor(session.run(None, {"input": given})[0].tolist())
        except Exception as error:
            problems.append(f"{case.name}: {str(error)[:200]}")
            continue
        apart = difference(kernel(host).detach(), theirs)
        if not apart <= FORWARD:
            problems.append(f"{case.name}: differs by {apart:.1e}")
    assert not problems, "\n".join([f"{len(problems)} of {len(forged)}", *problems])
