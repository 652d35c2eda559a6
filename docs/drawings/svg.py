"""Makes the drawings of the documentation: a few shapes, and an SVG of them.

    python docs/drawings/hubs.py          writes hubs.svg beside it
    python docs/drawings/pool.py          writes pool.svg beside it
    python docs/drawings/recv.py          writes recv.svg beside it

A drawing has a white ground of its own, so that it can be read on dark pages as well. Its text is text.
``tests/test_drawings.py`` checks that the SVGs are what these programs write.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

STYLE = """\
text { font: 13px system-ui, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; fill: #1f2933; }
.head { font-size: 15px; font-weight: 600; }
.strong { font-weight: 600; }
.faint { font-size: 12px; fill: #52606d; }
.over { paint-order: stroke; stroke: #ffffff; stroke-width: 5px; stroke-linejoin: round; }
.number { font-size: 12px; font-weight: 600; fill: #ffffff; }
.ground { fill: #ffffff; stroke: #cbd2d9; }
.area { fill: #f5f7fa; stroke: #9aa5b1; }
.dashed { fill: none; stroke: #9aa5b1; stroke-dasharray: 5 4; }
.box { fill: #ffffff; stroke: #7b8794; }
.cell { fill: #e4e7eb; stroke: #9aa5b1; }
.run { fill: #d3efdf; stroke: #2f855a; }
.parked { fill: #fdf3d7; stroke: #b7791f; }
.kernel { fill: #e1ecf9; stroke: #2b6cb0; }
.post { fill: #fbe3da; stroke: #c2410c; }
.arrow { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
.flow { stroke: #3e4c59; }
.flow-head { fill: #3e4c59; }
.back { stroke: #3e4c59; stroke-dasharray: 5 4; }
.back-head { fill: #3e4c59; }
.other { stroke: #c2410c; }
.other-head, .other-number { fill: #c2410c; }
.lane { stroke: #9aa5b1; }
.lane.dotted { stroke-dasharray: 2 4; }
"""

Point = tuple[int, int]

HEAD_LENGTH = 9
HEAD_WIDTH = 4


class Drawing:
    """Shapes, in the order in which they are laid on each other; *label* is for those who cannot see it."""

    def __init__(self, width: int, height: int, label: str) -> None:
        self._elements = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
            f' height="{height}" role="img" aria-label="{escape(label)}">',
            f"<style>\n{STYLE}</style>",
        ]
        self.box("ground", 0.5, 0.5, width - 1, height - 1)

    def box(self, kind: str, x: float, y: float, width: float, height: float, radius: int = 6) -> None:
        self._elements.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>'
        )

    def text(self, x: int, y: int, text: str, kind: str = "", anchor: str = "start") -> None:
        """One line of text; *y* is its baseline."""
        self._elements.append(
            f'<text class="{kind}" x="{x}" y="{y}" text-anchor="{anchor}">{escape(text, quote=False)}</text>'
        )

    def named(self, kind: str, x: int, y: int, width: int, height: int, *lines: str) -> None:
        """A box with lines in its middle: its name, and what there is to say of it."""
        self.box(kind, x, y, width, height)
        baseline = y + height // 2 + 5 - 8 * (len(lines) - 1)
        for number, line in enumerate(lines):
            style = "faint" if number else "strong"
            self.text(x + width // 2, baseline + 16 * number, line, style, "middle")

    def line(self, kind: str, *points: Point) -> None:
        path = " ".join(f"{x},{y}" for x, y in points)
        self._elements.append(f'<polyline class="{kind}" points="{path}"/>')

    def arrow(self, kind: str, *points: Point) -> None:
        """A line whose last piece, which is upright or level, ends with a head."""
        (x, y), (tip_x, tip_y) = points[-2:]
        step_x = (tip_x > x) - (tip_x < x)
        step_y = (tip_y > y) - (tip_y < y)
        base_x, base_y = tip_x - HEAD_LENGTH * step_x, tip_y - HEAD_LENGTH * step_y
        self.line(f"arrow {kind}", *points[:-1], (base_x, base_y))
        sides = [
            (base_x + HEAD_WIDTH * side * step_y, base_y + HEAD_WIDTH * side * step_x) for side in (1, -1)
        ]
        corners = " ".join(f"{x},{y}" for x, y in [(tip_x, tip_y), *sides])
        self._elements.append(f'<polygon class="{kind}-head" points="{corners}"/>')

    def number(self, x: int, y: int, number: int, kind: str = "flow-head") -> None:
        """A number in a disc around (x, y)."""
        self._elements.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="9"/>')
        self.text(x, y + 4, str(number), "number", "middle")

    def upright(self, x: int, y: int, text: str, kind: str = "") -> None:
        """Text that is read from below, with its middle at (x, y)."""
        self._elements.append(
            f'<text class="{kind}" transform="translate({x} {y}) rotate(-90)" text-anchor="middle">'
            f"{escape(text, quote=False)}</text>"
        )

    def write(self, source: str) -> None:
        """Write the SVG beside *source*, or to where the program's argument says."""
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(source).with_suffix(".svg")
        path.write_text("\n".join([*self._elements, "</svg>", ""]), encoding="utf-8")
