"""The tables of a run in Markdown, and its results as JSON."""

from collections.abc import Sequence
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.goals import GOALS
from benchmarks.measurements import LOAD_CPU, RATE, SERVER_CPU, Measurement
from benchmarks.results import Results

BUSY = 0.95
"""A process that uses at least this share of its core counts as the one that limits the result."""
SHOWN = {"p99_us": ", p99", "new_p95_us": ", p95 of a new connection"}
"""What the table of goals says of a metric that is not the measurement's first."""
IDLE = 0.85
"""If both sides are below this share, other programs had part of the cores."""


def figure(number: float, unit: str) -> str:
    """Format a number for a reader: about 3 digits, with its unit if that is not the column's."""
    match unit:
        case "us" if number >= 10_000:
            return f"{number / 1000:,.1f} ms"
        case "us":
            return f"{number:,.1f} us"
        case "bytes" if number < 1024:
            return f"{number:,.0f} B"
        case "bytes":
            return f"{number / 1024:,.1f} KiB"
        case "share":
            return f"{number:.0%}"
        case _:
            return f"{number:,.0f}"


def times(ratio: float) -> str:
    """Format a ratio with about three digits."""
    return f"{ratio:.{2 if ratio < 10 else 1 if ratio < 100 else 0}f}x"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table. The first row is its head, and all columns but the first are right-aligned.

    A last column that is empty is left out.
    """
    if not any(row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
        if number == 0:
            rules = ["-" * width if not i else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
            lines.append(f"| {' | '.join(rules)} |")
    return "\n".join(lines)


def notes(measurement: Measurement, contender: Contender, results: Results) -> list[str]:
    """Return the warnings that a reader needs before trusting the row."""
    name, row = measurement.name, contender.name
    found = []
    errors = results.values(name, row, "errors")
    if any(errors):
        found.append(f"{sum(errors):.0f} errors")
    if measurement.metrics[0].key != RATE.key:
        return found  # The processor time of an operation does not depend on a busy load generator.
    load = results.median(name, row, LOAD_CPU.key)
    server = results.median(name, row, SERVER_CPU.key)
    if load is not None and load > BUSY and (server is None or server < BUSY):
        found.append("load generator is the bottleneck")
    # With one connection, load and server wait for each other, so neither can be busy.
    one_connection = name.startswith("echo-1-")
    if load is not None and server is not None and not one_connection and max(load, server) < IDLE:
        found.append("neither was busy: the cores were shared")
    return found


def _row(measurement: Measurement, contender: Contender, results: Results) -> list[str]:
    cells = [contender.name]
    for index, metric in enumerate(measurement.metrics):
        median = results.median(measurement.name, contender.name, metric.key)
        cells.append("" if median is None else figure(median, metric.unit))
        if index == 0:
            spread = results.spread(measurement.name, contender.name, metric.key)
            cells.append("" if spread is None else f"{spread:.0%}")
        if metric.compared:
            ratio = results.row_ratio(measurement, contender, metric)
            cells.append("" if ratio is None else times(ratio))
    return [*cells, ", ".join(notes(measurement, contender, results))]


def measurement_text(measurement: Measurement, results: Results) -> str:
    """Return the heading, the table and the failures of one measurement."""
    first = measurement.metrics[0]
    better = "more" if first.more_is_better else "less"
    head = [measurement.name]
    ratio_title = "over 1 hub" if measurement.over_hubs else "greenpool / it"
    for index, metric in enumerate(measurement.metrics):
        head.append(metric.title)
        if index == 0:
            head.append("spread")
        if metric.compared:
            head.append(ratio_title)
    head.append("")
    measured = results.samples.get(measurement.name, {})
    rows = [_row(measurement, c, results) for c in measurement.contenders if c.name in measured]
    lines = [f"## {measurement.title} ({better} is better)", ""]
    if rows:
        lines += [table([head, *rows]), ""]
    for name, reason in results.failures.get(measurement.name, {}).items():
        lines += [f"{name} failed: {reason}", ""]
    return "\n".join(lines)


def goals_text(results: Results) -> str:
    """Return a table of the goals for which this run measured both sides."""
    rows = [["goal", "", "asked", "measured", ""]]
    left_out = 0
    for goal in GOALS:
        ratio = goal.ratio(results)
        if ratio is None:
            left_out += 1
            continue
        verdict = "met" if goal.is_met(ratio) else "MISSED"
        what = goal.measurement + SHOWN.get(goal.metric, "")
        rows.append([what, f"{goal.of} / {goal.to}", goal.asked, times(ratio), verdict])
    lines = ["## Goals", ""]
    if len(rows) > 1:
        lines += [table(rows), ""]
    if left_out:
        lines += [f"{left_out} goals were not measured in this run.", ""]
    return "\n".join(lines)


def as_json(about: dict[str, Any], measurements: Sequence[Measurement], results: Results) -> dict[str, Any]:
    """Return everything: where and how it was measured, all samples, medians, ratios and goals."""
    measured = {}
    for measurement in measurements:
        rows = {}
        for contender in measurement.contenders:
            samples = results.samples.get(measurement.name, {}).get(contender.name, [])
            metrics = {
                metric.key: {
                    "median": results.median(measurement.name, contender.name, metric.key),
                    "ratio": results.row_ratio(measurement, contender, metric),
                    "unit": metric.unit,
                }
                for metric in measurement.metrics
            }
            rows[contender.name] = {
                "samples": samples,
                "metrics": metrics,
                "notes": notes(measurement, contender, results),
                "failure": results.failures.get(measurement.name, {}).get(contender.name),
            }
        measured[measurement.name] = {
            "title": measurement.title,
            "ratio": "row over its 1 hub" if measurement.over_hubs else "greenpool over row",
            "reference": measurement.reference,
            "rows": rows,
        }
    goals = []
    for goal in GOALS:
        ratio = goal.ratio(results)
        goals.append(
            {
                "measurement": goal.measurement,
                "metric": goal.metric,
                "of": goal.of,
                "to": goal.to,
                "asked": goal.asked,
                "measured": ratio,
                "met": None if ratio is None else goal.is_met(ratio),
            }
        )
    return {"about": about, "measurements": measured, "goals": goals}


def merged(kept: dict[str, Any], found: dict[str, Any], everyday: bool) -> dict[str, Any]:
    """Return what a run found, with the results that an earlier file has of other measurements.

    "about" describes the last run without ``--everyday``, and "about everyday" the last run with it.
    """
    about = {key: value for key, value in kept.items() if key.startswith("about")}
    about["about everyday" if everyday else "about"] = found["about"]
    before = {_goal_key(goal): goal for goal in kept["goals"]}
    goals = [
        before.get(_goal_key(goal), goal) if goal["measured"] is None else goal for goal in found["goals"]
    ]
    return {**about, "measurements": kept["measurements"] | found["measurements"], "goals": goals}


def _goal_key(goal: dict[str, Any]) -> tuple[str, ...]:
    return tuple(goal[key] for key in ("measurement", "metric", "of", "to", "asked"))
