"""The command ``greenpool``: ps, stacks, top, trace, web, repl and run."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from .._core.waits import join_names
from ..inspect import Frame, GreenletInfo, HubInfo, Snapshot
from .client import SIGN_OF_LIFE, ConsoleError, NoAnswer, ask, await_sign_of_life, connect

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
        ("trace", _trace, "record what the hubs do, and write it as a page or for Perfetto"),
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
        if name == "trace":
            command.add_argument("--seconds", type=float, default=5.0, help="of the recording (default: 5)")
            command.add_argument(
                "-o",
                dest="file",
                metavar="FILE",
                help="NAME.html, a page, or NAME.json, the Trace Event format (default: trace-PID.html)",
            )
            command.add_argument(
                "--stall-limit", type=float, default=0.1, metavar="SECONDS", help="of a stall (default: 0.1)"
            )
            command.add_argument(
                "--limit", type=int, default=1_000_000, metavar="N", help="end after N entries"
            )
        if name == "web":
            command.add_argument("--port", type=int, default=0, help="of the page (default: a free one)")
            command.add_argument(
                "--browser", action=argparse.BooleanOptionalAction, default=False, help="open the page"
            )
    commands.add_parser("run", help="run a program with green threads, as `python -m greenpool`")
    return parser


def _take(target: str) -> Snapshot:
    return _complete(target, Snapshot.from_dict(ask(target, {"command": "snapshot"})))


def _complete(target: str, taken: Snapshot) -> Snapshot:
    """Add the lines of the hubs that compute, where these do not answer: without the GIL.

    That stops the threads of the process for a moment, and a function in C keeps it from doing so.  So it
    comes last.
    """
    unknown = [hub.name for hub in taken.hubs if hub.runs is not None and not hub.answered and not hub.stack]
    if not unknown:
        return taken
    try:
        lines = ask(target, {"command": "lines"})
    except NoAnswer:
        print(
            "greenpool: a function in C runs on a hub that does not answer, so its line is not known.  The\n"
            "threads of the process have to stop for that, and do so when the function has returned.",
            file=sys.stderr,
        )
        return taken
    hubs = [
        hub._replace(stack=(Frame(**lines[hub.name]),)) if hub.name in unknown and hub.name in lines else hub
        for hub in taken.hubs
    ]
    return taken._replace(hubs=hubs)


def _ps(options: argparse.Namespace) -> None:
    if options.json:
        print(_take(options.target).json())
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
    if runs and hub.stack:
        runs += f" at {hub.stack[0].file}:{hub.stack[0].line} in {hub.stack[0].function}"
    return (hub.name, hub.state, str(hub.counts["live"]), str(hub.counts["ready"]), runs)


def _greenlet_row(greenlet: GreenletInfo) -> tuple[str, ...]:
    return (
        greenlet.name,
        greenlet.hub,
        greenlet.state,
        "" if greenlet.age is None else f"{greenlet.age:.1f}",
        "" if greenlet.parked is None else f"{greenlet.parked:.1f}",
        _waits_of(greenlet),
    )


def _waits_of(greenlet: GreenletInfo) -> str:
    waits = " ".join(filter(None, (greenlet.call, greenlet.waits_for)))
    return f"{waits} held by {join_names(greenlet.held_by)}" if greenlet.held_by else waits


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
        seconds = max(time.monotonic() - began, 0.001)
        taken = _complete(options.target, Snapshot.from_dict(answer["snapshot"]))
        show(*_top_tables(taken, answer["turns"], seconds))
        pages += 1


def _top_tables(taken: Snapshot, turns: dict[str, Any], seconds: float) -> tuple[Table, Table]:
    """The rows of the hubs and of the longest waits, each with a head."""
    hubs: Table = [("HUB", "LIVE", "READY", "BUSY", "PASSES/S", "LONGEST TURN", "RUNS")]
    for hub in taken.hubs:
        passes, busy, longest = turns.get(hub.name, (0, 0.0, 0.0))[:3]
        longest = max(longest, hub.since or 0.0)
        _, _, live, ready, runs = _hub_row(hub)
        hubs.append(
            (hub.name, live, ready, f"{busy:.0%}", f"{passes / seconds:.0f}", f"{longest:.2f} s", runs)
        )
    waits: Table = [("LONGEST WAIT", "GREENLET", "HUB", "WAITS", "SPAWNED AT")]
    parked = [each for each in taken.greenlets if each.parked is not None]
    for each in sorted(parked, key=lambda each: -(each.parked or 0.0))[:MOST_WAITS]:
        place = "" if each.spawned_at is None else f"{each.spawned_at.file}:{each.spawned_at.line}"
        waits.append((f"{each.parked:.1f} s", each.name, each.hub, _waits_of(each), place))
    return hubs, waits


def _make_display() -> Any:
    """A function that shows tables in the place of those before: with rich if that is installed."""
    try:
        rich: Any = importlib.import_module("rich.console")
        tables_of_rich: Any = importlib.import_module("rich.table")
    except ImportError:
        return _show_plainly
    console = rich.Console()
    if not console.is_terminal:
        return _show_plainly  # whole lines, for a file or another program

    def show(*tables: Table) -> None:
        console.clear()
        for rows in tables:
            table = tables_of_rich.Table()
            for name in rows[0]:
                table.add_column(name, overflow="fold")
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


# trace


def _trace(options: argparse.Namespace) -> None:
    # Imported here, because the other commands do not need it.
    from .. import trace
    from .recording import read_lines

    path = options.file or f"trace-{os.path.basename(options.target).removesuffix('.sock')}.html"
    try:
        trace.ending_of(path)
    except ValueError as error:
        raise ConsoleError(str(error)) from None
    request = {"command": "trace", "seconds": options.seconds}
    request |= {"stall_limit": options.stall_limit, "limit": options.limit}
    with connect(options.target) as connection, connection.makefile("rb") as file:
        connection.sendall(json.dumps(request).encode() + b"\n")
        text = f"recording for {options.seconds:g} s; Ctrl-C ends it and writes {path}"
        print(text, file=sys.stderr, flush=True)
        lines = _lines_until_told(options.target, connection, file)
        try:
            recorded = read_lines(lines)
        except (EOFError, ValueError, OSError) as error:
            raise ConsoleError(f"nothing is written: {error}") from None
    trace.write(recorded, path)
    hubs = [hub.name for hub in recorded.hubs]
    early = "" if recorded.limit is None else f", ended early at {recorded.limit:,} entries"
    print(f"{path}: {recorded.ended - recorded.began:.2f} s of {len(hubs)} hubs{early}")


def _lines_until_told(target: str, connection: Any, file: Any) -> Iterator[bytes]:
    """The lines of the answer; the first Ctrl-C asks for them at once.

    While the process records, and while it ends that, it has to give signs of life.
    """
    path = connection.getpeername()
    is_told = False
    while True:
        try:
            if select.select([connection], [], [], SIGN_OF_LIFE)[0]:
                break
            await_sign_of_life(target, path)
        except KeyboardInterrupt:
            if is_told:
                raise
            is_told = True
            connection.sendall(b"\n")
    yield from file


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
