"""A plotting area as inline SVG: from data to picture, ticks and labels. Colors are classes of the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 320, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 8, 40


@dataclass(frozen=True)
class Axes:
    """Ranges of the data on x and y; a range of no extent is widened."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point, in units of the picture."""
        return round(_LEFT + self._share(x, self.x) * _inner()[0], 1), round(HEIGHT - _BOTTOM - self._share(y, self.y) * _inner()[1], 1)

    def draw(self, marks: str, x_label: str, y_label: str, description: str) -> str:
        """The whole picture with its marks; ``description`` is what a screen reader says."""
        middle, center = _LEFT + _inner()[0] / 2, _TOP + _inner()[1] / 2
        labels = (
            f'<text class="label" x="{middle:g}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text class="label" x="{-center:g}" y="11" text-anchor="middle" transform="rotate(-90)">{escape(y_label)}</text>'
        )
        frame = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">'
        return f"{frame}{self._grid()}{marks}{labels}</svg>"

    @staticmethod
    def _share(value: float, ends: tuple[float, float]) -> float:
        return (value - ends[0]) / ((ends[1] - ends[0]) or 1)

    def _grid(self) -> str:
        lines = []
        for value in ticks(*self.x):
            x, bottom = self.at(value, self.y[0])
            lines.append(f'<text class="tick" x="{x}" y="{bottom + 14}" text-anchor="middle">{number(value)}</text>')
        for value in ticks(*self.y):
            left, y = self.at(self.x[0], value)
            lines.append(f'<line class="grid" x1="{left}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
            lines.append(f'<text class="tick" x="{left - 5}" y="{y + 3.5}" text-anchor="end">{number(value)}</text>')
        return "".join(lines)


def around(values: Sequence[float], margin: float = 0.05) -> tuple[float, float]:
    """The range of some values, with a margin on both sides."""
    low, high = min(values), max(values)
    extra = (high - low) * margin or abs(low) * margin or 1.0
    return low - extra, high + extra


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two ends, some ``about`` of them.

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * position, 12) for position in range(first, last + 1)]


def number(value: float) -> str:
    """A number of few digits; large ones in thousands.

    >>> [number(value) for value in (0.25, 1500, 20000, -0.0)]
    ['0.25', '1500', '20k', '0']
    """
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value + 0.0:.4g}"


def _inner() -> tuple[int, int]:
    return WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
