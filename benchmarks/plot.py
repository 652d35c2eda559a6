"""The plot of a run: one panel of bars for each measurement, as an SVG file written by hand.

A bar shows a row's figure relative to greenpool's first row in the same panel. If less is better (latency,
memory, time), the bar shows the inverse, so longer is always better. Every panel starts at 0 and is as wide
as its longest bar, but at most LONGEST times greenpool's. A longer bar is cut off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.measurements import Measurement
from benchmarks.report import figure, times
from benchmarks.results import Results

COLUMNS = 2
PANEL_WIDTH = 620
LABEL_WIDTH = 250
BAR_WIDTH = 210
RATIO_END = 52
FIGURE_END = 132
LONGEST = 4
ROW = 21
BAR = 15
TITLE = 34
GAP = 26
MARGIN = 30

CUT = ((3, -1), (7, -1), (4, BAR + 1), (0, BAR + 1))
"""The white stroke through a bar that is cut off."""

GREEN, LIGHT_GREEN, GREY = "#2b8a3e", "#8fd19e", "#b6bfc9"
INK, FAINT = "#212529", "#6c757d"
STYLE = f"""
text {{ font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: {INK}; }}
.title {{ font-size: 14px; font-weight: 600; }}
.head {{ font-size: 20px; font-weight: 600; }}
.faint {{ fill: {FAINT}; }}
.ratio {{ font-weight: 600; }}
"""


@dataclass(frozen=True)
class Bar:
    name: str
    colour: str
    relative: float
    shown: str


def _bars(measurement: Measurement, results: Results) -> list[Bar]:
    """Return the panel's bars, the best first, or none if greenpool was not measured.

    Bars over 1, 2 and 4 hubs stay in their order.
    """
    metric = measurement.metrics[0]
    bars = []
    for contender in measurement.contenders:
        ratio = (
            results.ratio(measurement.name, contender.name, measurement.reference, metric.key)
            if measurement.reference
            else None
        )
        median = results.median(measurement.name, contender.name, metric.key)
        if not ratio or median is None:
            continue
        colour = GREY
        if contender.library == "greenpool":
            colour = LIGHT_GREEN if "pure" in contender.name else GREEN
        relative = ratio if metric.more_is_better else 1 / ratio
        bars.append(Bar(contender.name, colour, relative, figure(median, metric.unit)))
    return bars if measurement.over_hubs else sorted(bars, key=lambda bar: -bar.relative)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _panel(x: float, y: float, measurement: Measurement, bars: Sequence[Bar]) -> list[str]:
    unit = measurement.metrics[0].title
    scale = BAR_WIDTH / min(LONGEST, max(bar.relative for bar in bars))
    left = x + LABEL_WIDTH
    right = left + BAR_WIDTH
    parts = [_text(x, y + 14, measurement.title, "title")]
    for row, bar in enumerate(bars):
        top = y + TITLE + row * ROW
        middle = top + BAR - 3
        width = min(BAR_WIDTH, max(1.0, bar.relative * scale))
        shown = bar.shown if unit in ("us", "bytes") else f"{bar.shown}/s"
        parts += [
            _text(left - 8, middle, bar.name, anchor="end"),
            f'<rect x="{left:g}" y="{top:g}" width="{width:.1f}" height="{BAR}" rx="2" fill="{bar.colour}"/>',
            _text(right + RATIO_END, middle, times(bar.relative), "ratio", "end"),
            _text(right + FIGURE_END, middle, shown, "faint", "end"),
        ]
        if bar.relative > LONGEST:
            cut = " ".join(f"{right - 14 + dx:g},{top + dy}" for dx, dy in CUT)
            parts.append(f'<polygon points="{cut}" fill="#ffffff"/>')
    line = left + scale
    parts.append(
        f'<line x1="{line:.1f}" x2="{line:.1f}" y1="{y + TITLE - 5:g}" '
        f'y2="{y + TITLE + len(bars) * ROW:g}" stroke="{INK}" stroke-dasharray="2 3" opacity="0.6"/>'
    )
    return parts


def plot(measurements: Sequence[Measurement], results: Results, about: str) -> str:
    """Return the SVG document."""
    notes = ["Relative to greenpool (the dashed line): longer is better.", *about.splitlines()]
    top = MARGIN + 34 + 18 * len(notes) + 14
    bottoms = [float(top)] * COLUMNS
    body: list[str] = []
    for measurement in measurements:
        if not (bars := _bars(measurement, results)):
            continue
        column = bottoms.index(min(bottoms))
        body += _panel(MARGIN + column * PANEL_WIDTH, bottoms[column], measurement, bars)
        bottoms[column] += TITLE + len(bars) * ROW + GAP
    width = 2 * MARGIN + COLUMNS * PANEL_WIDTH
    height = max(bottoms) + MARGIN - GAP
    head = [_text(MARGIN, MARGIN + 16, "greenpool and its peers", "head")]
    head += [_text(MARGIN, MARGIN + 42 + 18 * i, note, "faint") for i, note in enumerate(notes)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" '
            f'width="{width}" height="{height:g}">',
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            *head,
            *body,
            "</svg>\n",
        ]
    )
