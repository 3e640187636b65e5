"""docs/growth.md: what the results say, in tables, pictures and words."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from growth.curves import drawn, mean_curve
from growth.differences import Difference, mean_and_spread, paired
from growth.runs import budget_of, weights_of
from growth.tasks import Task

BEGIN, END = "<!-- growth: begin -->", "<!-- growth: end -->"
LEVEL = 0.3  # points within which grown counts as level
KINDS = {
    "grown": "grown",
    "longer": "longer: the same host",
    "larger": "larger: a wider host of as many weights",
    "final": "final: what grew, from the start",
    "random": "random: seeds by lot",
    "gromo": "GroMo",
}

Runs = dict[str, list[dict[str, Any]]]


class Outcome:
    """The results of one task."""

    def __init__(self, task: Task, folder: Path, seeds: Sequence[int]) -> None:
        self.task = task
        self.runs: Runs = {}
        for kind in KINDS:
            paths = [folder / f"{kind}-{seed}.json" for seed in seeds]
            if all(path.exists() for path in paths):
                self.runs[kind] = [json.loads(path.read_text("utf-8")) for path in paths]

    def accuracies(self, kind: str) -> list[float]:
        """One for each seed, in percent."""
        return [run["accuracy"] for run in self.runs[kind]]

    def against(self, kind: str) -> Difference:
        """Grown against another kind."""
        return paired(self.accuracies("grown"), self.accuracies(kind))

    @property
    def beats_longer(self) -> bool:
        """Whether growing beats training on beyond the spread."""
        return self.against("longer").better

    @property
    def level_with_larger(self) -> bool:
        """Whether growing comes within some tenths of a larger host."""
        return self.against("larger").mean >= -LEVEL

    def kept(self) -> list[dict[str, Any]]:
        """The seeds that were kept, of all runs."""
        return [s for run in self.runs["grown"] for s in run["seeds"] if "FOSSILIZED" in s]

    def tried(self) -> int:
        """How many seeds there were."""
        return sum(len(run["seeds"]) for run in self.runs["grown"])


def written(root: Path, tasks: Sequence[tuple[Task, Path]], seeds: Sequence[int]) -> str:
    """Writes the page and its pictures, and returns the line RESULT."""
    outcomes = [Outcome(task, folder, seeds) for task, folder in tasks]
    missing = [
        f"{outcome.task.name} {kind}"
        for outcome in outcomes
        for kind in KINDS
        if kind not in outcome.runs and not (kind == "gromo" and outcome.task.name != "digits")
    ]
    if missing:
        raise SystemExit(f"growth: there is no result yet of {', '.join(missing)}")
    docs = root / "docs"
    (docs / "growth").mkdir(exist_ok=True)
    for outcome in outcomes:
        curves = {
            kind: mean_curve([run["curve"] for run in runs]) for kind, runs in outcome.runs.items()
        }
        picture = drawn(f"{outcome.task.title}: accuracy in percent", curves)
        (docs / "growth" / f"{outcome.task.name}.svg").write_text(picture, encoding="utf-8")
    result = result_line(outcomes, seeds)
    page = docs / "growth.md"
    text = page.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    told = "\n\n".join([f"`{result}`", tuned(seeds), verdict(outcomes), *map(section, outcomes)])
    page.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{after}", encoding="utf-8")
    return result


def result_line(outcomes: Sequence[Outcome], seeds: Sequence[int]) -> str:
    """What `make growth` ends with."""
    return (
        f"RESULT growth datasets={len(outcomes)} seeds={len(seeds)} "
        f"longer_wins={sum(outcome.beats_longer for outcome in outcomes)} "
        f"larger_level={sum(outcome.level_with_larger for outcome in outcomes)}"
    )


def tuned(seeds: Sequence[int]) -> str:
    """What the results were not tuned on."""
    return (
        f"Random seeds {min(seeds)} to {max(seeds)}, which nobody had looked at before. Hosts, "
        "settings and the rules by which seeds are chosen were tuned on random seeds from 100 on; "
        "1 to 5, 11 to 15, 21 to 25 and 31 to 35 ran with earlier rules and were looked at. "
        "Nothing of any of those is reported here."
    )


def section(outcome: Outcome) -> str:
    """One data set."""
    task = outcome.task
    host = weights_of(task.host(1.0))
    lines = [
        f"### {task.title}",
        "",
        f"The host has {host:,} weights. Every run may spend {budget_of(task) / 1e9:.1f} "
        f"thousand million multiply-adds, which are {task.epochs} epochs of the host.",
        "",
        "| run | test accuracy, % | grown is better by | weights | steps |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, runs in outcome.runs.items():
        difference = "" if kind == "grown" else str(outcome.against(kind))
        weights = statistics.fmean(run["weights"] for run in runs)
        steps = statistics.fmean(run["steps"] for run in runs)
        lines.append(
            f"| {KINDS[kind]} | {mean_and_spread(outcome.accuracies(kind))} | {difference} "
            f"| {weights:,.0f} | {steps:,.0f} |"
        )
    return "\n".join([*lines, "", seeds_told(outcome), "", picture_of(task)])


def seeds_told(outcome: Outcome) -> str:
    """Which seeds were kept."""
    counts: dict[str, int] = {}
    for seed in outcome.kept():
        name = f"{seed['blueprint']} behind `{seed['slot']}`"
        counts[name] = counts.get(name, 0) + 1
    told = ", ".join(
        f"{name} ({count})" for name, count in sorted(counts.items(), key=lambda c: (-c[1], c[0]))
    )
    lotted = sum("FOSSILIZED" in s for run in outcome.runs["random"] for s in run["seeds"])
    return (
        f"Of {outcome.tried()} seeds in all runs that grew, {len(outcome.kept())} were kept: "
        f"{told or 'none'}. By lot, {lotted} were."
    )


def picture_of(task: Task) -> str:
    """The reference to a picture."""
    return f"![{task.title}: accuracy over compute](growth/{task.name}.svg)"


def verdict(outcomes: Sequence[Outcome]) -> str:
    """The results in words."""
    lines = []
    for outcome in outcomes:
        longer, larger = outcome.against("longer"), outcome.against("larger")
        choice = outcome.against("random")
        lines.append(
            f"* **{outcome.task.title}**: growing {_beats(longer)} training the same host on "
            f"({longer}), and {_level(larger)} a wider host of as many weights that trained "
            f"from the start ({larger}). The choice of seeds {_worth(choice)} ({choice})."
        )
    return "\n".join(lines)


def _beats(difference: Difference) -> str:
    if difference.better:
        return "beats"
    return "loses to" if difference.worse else "cannot be told from"


def _level(difference: Difference) -> str:
    if difference.better:
        return "beats"
    if difference.mean >= -LEVEL:
        return "is level with"
    return "stays behind" if difference.worse else "is, within the spread, no better than"


def _worth(difference: Difference) -> str:
    if difference.better:
        return "beats a lottery"
    return "loses to a lottery" if difference.worse else "cannot be told from a lottery"
