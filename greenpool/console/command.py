"""The command ``greenpool``: ps, stacks, top, web, repl and run."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ..inspect import GreenletInfo, HubInfo, Snapshot
from .client import ConsoleError, ask, connect

Table = list[tuple[str, ...]]

# Greenlets that ``top`` shows.
MOST_WAITS = 10


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; returns the exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["run"]:
        from ..__main__ import main as run

        run(given[1:])
        return 0
    options = _parser().parse_args(given)
    try:
        options.carry_out(options)
    except ConsoleError as error:
        print(f"greenpool: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="greenpool", description="Look into a running program of greenpool."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
        ("ps", _ps, "list hubs and greenlets"),
        ("stacks", _stacks, "show the stacks of all greenlets, equal ones counted together"),
        ("top", _top, "show loads, passes, longest turns and longest waits, again and again"),
        ("web", _web, "serve a live page for a browser, on this machine only"),
        ("repl", _repl, "open a Python prompt in the process"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("target", metavar="PID", help="number of the process, or path of its socket")
        command.set_defaults(carry_out=function)
        if name in ("ps", "stacks"):
            command.add_argument("--json", action="store_true", help="print JSON")
        if name == "top":
            command.add_argument("--interval", type=float, default=1.0, metavar="SECONDS")
            command.add_argument("--count", type=int, metavar="N", help="end after N pages")
        if name == "web":
            command.add_argument("--port", type=int, default=0, help="of the page (default: a free one)")
            command.add_argument(
                "--browser", action=argparse.BooleanOptionalAction, default=False, help="open the page"
            )
    commands.add_parser("run", help="run a program with green threads, as `python -m greenpool`")
    return parser


def _take(target: str) -> Snapshot:
    return Snapshot.from_dict(ask(target, {"command": "snapshot"}))


def _ps(options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(ask(options.target, {"command": "snapshot"})))
        return
    taken = _take(options.target)
    rows: Table = [("HUB", "STATE", "LIVE", "READY", "RUNS")]
    rows += [_hub_row(hub) for hub in taken.hubs]
    print("\n".join(_columns(rows)), end="\n\n")
    rows = [("GREENLET", "HUB", "STATE", "AGE", "PARKED", "WAITS")]
    rows += [_greenlet_row(greenlet) for greenlet in taken.greenlets]
    print("\n".join(_columns(rows)))


def _hub_row(hub: HubInfo) -> tuple[str, ...]:
    runs = "" if hub.state == "asleep" or hub.runs is None else hub.runs
    if runs and hub.since is not None:
        runs += f" for {hub.since:.2f} s"
    return (hub.name, hub.state, str(hub.counts["live"]), str(hub.counts["ready"]), runs)


def _greenlet_row(greenlet: GreenletInfo) -> tuple[str, ...]:
    waits = " ".join(filter(None, (greenlet.call, greenlet.waits_for)))
    if greenlet.held_by:
        waits += f" held by {' and '.join(greenlet.held_by)}"
    return (
        greenlet.name,
        greenlet.hub,
        greenlet.state,
        "" if greenlet.age is None else f"{greenlet.age:.1f}",
        "" if greenlet.parked is None else f"{greenlet.parked:.1f}",
        waits,
    )


def _columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _stacks(options: argparse.Namespace) -> None:
    taken = _take(options.target)
    print(taken.json() if options.json else taken.text(), end="\n" if options.json else "")


# top


def _top(options: argparse.Namespace) -> None:
    show = _make_display()
    pages = 0
    while options.count is None or pages < options.count:
        began = time.monotonic()
        answer = ask(options.target, {"command": "top", "seconds": options.interval})
        show(*_top_tables(answer, max(time.monotonic() - began, 0.001)))
        pages += 1


def _top_tables(answer: dict[str, Any], seconds: float) -> tuple[Table, Table]:
    """The rows of the hubs and of the longest waits, each with a head."""
    taken = Snapshot.from_dict(answer["snapshot"])
    hubs: Table = [("HUB", "LIVE", "READY", "BUSY", "PASSES/S", "LONGEST TURN", "RUNS")]
    for hub in taken.hubs:
        passes, busy, longest = answer["turns"].get(hub.name, (0, 0.0, 0.0))[:3]
        longest = max(longest, hub.since or 0.0)
        _, _, live, ready, runs = _hub_row(hub)
        hubs.append(
            (hub.name, live, ready, f"{busy:.0%}", f"{passes / seconds:.0f}", f"{longest:.2f} s", runs)
        )
    waits: Table = [("LONGEST WAIT", "GREENLET", "HUB", "SPAWNED AT")]
    parked = [each for each in taken.greenlets if each.parked is not None]
    for each in sorted(parked, key=lambda each: -(each.parked or 0.0))[:MOST_WAITS]:
        place = "" if each.spawned_at is None else f"{each.spawned_at.file}:{each.spawned_at.line}"
        waits.append((f"{each.parked:.1f} s", each.name, each.hub, place))
    return hubs, waits


def _make_display() -> Any:
    """A function that shows tables in the place of those before: with rich if that is installed."""
    try:
        rich: Any = importlib.import_module("rich.console")
        tables_of_rich: Any = importlib.import_module("rich.table")
    except ImportError:
        return _show_plainly
    console = rich.Console()

    def show(*tables: Table) -> None:
        if console.is_terminal:
            console.clear()
        for rows in tables:
            table = tables_of_rich.Table(*rows[0])
            for row in rows[1:]:
                table.add_row(*row)
            console.print(table)

    return show


def _show_plainly(*tables: Table) -> None:
    if sys.stdout.isatty():
        print("\033[H\033[2J", end="")
    for rows in tables:
        print("\n".join(_columns(rows)), end="\n\n")
    sys.stdout.flush()


# web


def _web(options: argparse.Namespace) -> None:
    try:
        from .web import serve
    except ModuleNotFoundError as error:
        if error.name != "httptools":
            raise
        raise ConsoleError("the page needs a parser: pip install greenpool[wsgi]") from None
    serve(options.target, options.port, options.browser)


# repl


def _repl(options: argparse.Namespace) -> None:
    with connect(options.target) as connection:
        connection.sendall(b'{"command": "repl"}\n')
        printer = threading.Thread(target=_print_all, args=(connection,))
        printer.start()
        try:
            for line in sys.stdin:
                connection.sendall(line.encode())
            connection.shutdown(1)  # SHUT_WR: the end of the input
        except OSError:
            pass  # exit() has closed it
        printer.join()


def _print_all(connection: Any) -> None:
    while data := connection.recv(65_536):
        sys.stdout.write(data.decode(errors="replace"))
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
