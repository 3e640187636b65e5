"""Runs what is missing, and writes what came of it.

python -m growth run    # every run without a result under var/growth
python -m growth page   # docs/growth.md and its curves, and the line RESULT
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from growth import page, peer
from growth.chance import Chance
from growth.grown import Growing, from_start
from growth.runs import Result, plain, width_of
from growth.tasks import TASKS
from weatherlight import local

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "growth"
SEEDS = range(41, 51)
KINDS = ("grown", "longer", "larger", "final", "random", "gromo")
# What a run of minutes needs is not what a run of days needs: docs/growth.md has the reasons.
SETTINGS = {
    "TAMIYO_STALL_EPOCHS": "3",
    "TAMIYO_STALL_GAIN": "0.03",
    "KASMINA_MIN_SHADOWING": "1",
    "KASMINA_MIN_PROBATION": "1",
    "KASMINA_TRAIN_EPOCHS": "6",
}
NEVER = {**SETTINGS, "TAMIYO_STALL_EPOCHS": "100000"}


class Bench:
    """The runs of one process."""

    def path(self, task: str, kind: str, seed: int) -> Path:
        """Where the result of a run lies."""
        return folder_of(task) / f"{kind}-{seed}.json"

    def kernels(self, task: str, seed: int) -> Path:
        """Where the kernels lie that a run kept."""
        return folder_of(task) / f"kernels-{seed}"

    def run(self, task: str, kind: str, seed: int) -> None:
        """One run, unless its result is there."""
        path = self.path(task, kind, seed)
        if path.exists() or (kind == "gromo" and task != "digits"):
            return
        result = self._run(task, kind, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(result.told()), encoding="utf-8")
        partial.replace(path)
        print(
            f"{task} {kind} {seed}: {result.accuracy:.2f} % with {result.weights} weights, "
            f"{result.steps} steps, {result.seconds:.0f} s",
            flush=True,
        )

    def _run(self, name: str, kind: str, seed: int) -> Result:
        task = TASKS[name]
        if kind == "grown":
            with served(SETTINGS) as service:
                return Growing(task, kind, seed, service).run(self.kernels(name, seed))
        if kind == "longer":
            return plain(task, kind, seed)
        grown = json.loads(self.path(name, "grown", seed).read_text(encoding="utf-8"))
        if kind == "larger":
            return plain(task, kind, seed, width_of(task, grown["weights"]))
        if kind == "final":
            return from_start(task, seed, self.kernels(name, seed))
        if kind == "gromo":
            return peer.gromo(task, seed, grown["weights"])
        with served(NEVER) as service:
            return Chance(task, seed, service, len(grown["seeds"])).run()


@contextmanager
def served(settings: Mapping[str, str]) -> Iterator[local.LocalService]:
    """A service of one's own: what seeds of other runs came to was paid for by other budgets."""
    os.environ.update(settings)
    service = local.start()
    try:
        yield service
    finally:
        service.stop()


def work(bench: Bench, units: Iterable[tuple[str, int]], kinds: Sequence[str]) -> None:
    """All runs of some seeds of tasks; a later one may need what an earlier one grew."""
    for task, seed in units:
        for kind in kinds:
            bench.run(task, kind, seed)


def together(workers: int, arguments: list[str]) -> None:
    """Spreads the work over processes."""
    processes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "growth", "work", "--share", str(share), *arguments]
        )
        for share in range(workers)
    ]
    if sum(process.wait() != 0 for process in processes):
        raise SystemExit("growth: a process failed; what is done is kept, run it again")


@cache
def folder_of(name: str) -> Path:
    """Where the results of a task lie: those of another code, or other settings, lie apart."""
    task, digest = TASKS[name], hashlib.sha256()
    for module in ("tasks", "runs", "grown", "chance", "peer", "compute"):
        text = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
        tree.body = [node for node in tree.body if not _is_table(node)]
        digest.update(ast.dump(tree).encode())
    told = (task.name, task.slots, task.epochs, task.rate, task.batch)
    digest.update(json.dumps([told, SETTINGS]).encode())
    return FOLDER / f"{name}-{digest.hexdigest()[:12]}"


def _is_table(node: ast.stmt) -> bool:
    """Whether it is the table of tasks, of which each task takes its own row."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TASKS"


def main() -> None:
    """Does what the command line says."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("what", choices=("run", "work", "page"))
    options.add_argument("--tasks", nargs="*", default=list(TASKS))
    options.add_argument("--kinds", nargs="*", default=list(KINDS))
    options.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options.add_argument("--share", type=int, default=0, help="which of the processes this is")
    given = options.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    if given.what == "work":
        units = [(task, seed) for task in given.tasks for seed in SEEDS]
        work(Bench(), units[given.share :: given.workers], given.kinds)
        return
    if given.what == "run":
        workers = str(given.workers)
        chosen = ["--workers", workers, "--tasks", *given.tasks, "--kinds", *given.kinds]
        together(given.workers, chosen)
    print(page.written(ROOT, [(TASKS[name], folder_of(name)) for name in given.tasks], SEEDS))


if __name__ == "__main__":
    main()
