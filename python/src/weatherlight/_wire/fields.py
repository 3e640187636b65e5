"""Reading single annotations."""

from __future__ import annotations


class Misread(Exception):  # noqa: N818  (nor of ours)
    """An annotation, or a field, that is not understood."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name[:64]} {why[:200]}")
        self.name = name


def is_true(text: str) -> bool:
    """Reads a flag: "true" in any case, blanks around it allowed."""
    return text.strip().lower() == "true"


def count(name: str, text: str, most: int) -> int:
    """A decimal number from 0 to most."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise Misread(name, "is no number within its bounds")
    return int(text)
