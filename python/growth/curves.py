"""Curves as pictures, small enough to be kept with the page."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Curve = Sequence[tuple[float, float]]

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 320, 46, 16, 110, 34
COLOURS = {
    "grown": "#0b6e4f",
    "longer": "#888888",
    "larger": "#1f4fbf",
    "final": "#b06a00",
    "random": "#c0392b",
    "gromo": "#7d3c98",
}


def mean_curve(curves: Sequence[Curve]) -> list[tuple[float, float]]:
    """The mean over seeds, point by point."""
    return [
        (statistics.fmean(p[0] for p in points), statistics.fmean(p[1] for p in points))
        for points in zip(*curves, strict=False)
    ]


def drawn(title: str, curves: Mapping[str, Curve]) -> str:
    """An SVG of curves: accuracy over the share of the budget."""
    values = sorted(value for curve in curves.values() for _, value in curve[1:])
    low, high = values[0], values[-1]
    high += (high - low) * 0.04 or 1.0

    def at(share: float, value: float) -> tuple[float, float]:
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - max(value, low)) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="11">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for step in range(5):
        value = low + (high - low) * step / 4
        x, y = at(0, value)
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 5}" y="{y + 4}" text-anchor="end">{value:.1f}</text>')
        x, y = at(step / 4, low)
        parts.append(f'<text x="{x}" y="{y + 15}" text-anchor="middle">{step * 25} %</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">share of the compute</text>'
    )
    for row, (name, curve) in enumerate(curves.items()):
        points = " ".join(f"{x},{y}" for x, y in (at(*point) for point in curve))
        width = 2.5 if name == "grown" else 1.5
        colour = COLOURS[name]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )
        x, y = WIDTH - RIGHT + 10, TOP + 14 + row * 18
        parts.append(
            f'<path d="M{x} {y - 4}h16" stroke="{colour}" stroke-width="{width}"/>'
            f'<text x="{x + 21}" y="{y}">{name}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
