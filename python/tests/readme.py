"""Runs the README's example with the package that is installed, and looks at what grew."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> None:
    """The example must keep a seed."""
    import weatherlight  # noqa: PLC0415  (the installed one)

    origin = Path(str(weatherlight.__file__))
    assert "site-packages" in origin.parts, f"{origin} is not installed"
    page = Path(sys.argv[1]).read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert example, "there is no example"
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(example.group(1), sys.argv[1], "exec"), names)
    growth = names["growth"]
    assert isinstance(growth, weatherlight.Growth)
    stages = [seed.stage for seed in growth.seeds]
    assert "FOSSILIZED" in stages, f"no seed was kept: {stages}"
    print(f"weatherlight {weatherlight.__version__} of {origin.parent}: a seed was kept")


if __name__ == "__main__":
    main()
