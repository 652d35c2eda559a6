"""The life of a recv whose greenlet has to wait: time goes down, and one lane of the hub runs at a time."""

from __future__ import annotations

from svg import Drawing

WIDTH = 800
TOP = 20
HEAD_WIDTH, HEAD_HEIGHT = 152, 46
ROW = 44
BAR = 12
EDGE = WIDTH - 16

GREENLET, OTHERS, LOOP, KERNEL = 164, 338, 512, 686


def row(number: float) -> int:
    return TOP + HEAD_HEIGHT + round(ROW * number)


def message(drawing: Drawing, at: float, sender: int, receiver: int, text: str, kind: str = "flow") -> None:
    """An arrow from lane to lane, with the text on it."""
    y = row(at)
    side = BAR // 2 if receiver > sender else -BAR // 2
    drawing.arrow(kind, (sender + side, y), (receiver - side, y))
    drawing.text((sender + receiver) // 2, y - 7, text, "over", "middle")


def state(drawing: Drawing, kind: str, lane: int, begin: float, end: float) -> None:
    drawing.box(kind, lane - BAR // 2, row(begin), BAR, row(end) - row(begin), 2)


def step(drawing: Drawing, at: float, name: str, what: str) -> None:
    """What the greenlet does, left of its lane."""
    drawing.text(GREENLET - 18, row(at) - 1, name, "strong", "end")
    drawing.text(GREENLET - 18, row(at) + 15, what, "faint", "end")


def draw() -> Drawing:
    drawing = Drawing(
        WIDTH,
        row(13.2) + 70,
        "The life of a recv: the greenlet tries, gets EAGAIN, parks and switches to the next one; the loop"
        " polls and dispatches; the greenlet is resumed from the ready queue and tries again.",
    )
    for lane, name, what, kind in (
        (GREENLET, "greenlet g", "calls recv", "run"),
        (OTHERS, "other greenlets", "of the same hub", "box"),
        (LOOP, "loop", "of the hub", "box"),
        (KERNEL, "kernel", "socket and epoll", "kernel"),
    ):
        drawing.named(kind, lane - HEAD_WIDTH // 2, TOP, HEAD_WIDTH, HEAD_HEIGHT, name, what)
        drawing.line("lane dotted", (lane, TOP + HEAD_HEIGHT), (lane, row(13.2)))

    state(drawing, "kernel", KERNEL, 0.5, 13)
    state(drawing, "run", GREENLET, 0.5, 4)
    step(drawing, 1, "try", "the system call")
    message(drawing, 1, GREENLET, KERNEL, "recv")
    message(drawing, 2, KERNEL, GREENLET, "EAGAIN: nothing has come", "back")
    step(drawing, 3, "register", "the first time only")
    message(drawing, 3, GREENLET, KERNEL, "epoll_ctl: reading and writing, edge-triggered")
    step(drawing, 4, "park", "on a waiter")
    message(drawing, 4, GREENLET, OTHERS, "switch to the next")

    state(drawing, "parked", GREENLET, 4, 10)
    state(drawing, "run", OTHERS, 4, 5)
    message(drawing, 5, OTHERS, LOOP, "the mark’s turn")
    state(drawing, "run", LOOP, 5, 9)
    message(drawing, 6, LOOP, KERNEL, "poll")
    drawing.arrow("other", (EDGE, row(6.5)), (KERNEL + BAR // 2, row(6.5)))
    drawing.text(EDGE, row(6.5) - 7, "data", "", "end")
    message(drawing, 7, KERNEL, LOOP, "readable", "back")
    drawing.text(LOOP - 18, row(8) - 1, "dispatch", "strong over", "end")
    drawing.text(LOOP - 18, row(8) + 15, "claim the waiter, put g into the ready queue", "faint over", "end")
    message(drawing, 9, LOOP, OTHERS, "run what is ready")
    state(drawing, "run", OTHERS, 9, 10)

    message(drawing, 10, OTHERS, GREENLET, "g’s turn")
    state(drawing, "run", GREENLET, 10, 13)
    step(drawing, 10, "resume", "where it parked")
    step(drawing, 11, "try again", "readiness is a hint")
    message(drawing, 11, GREENLET, KERNEL, "recv")
    message(drawing, 12, KERNEL, GREENLET, "data", "back")
    step(drawing, 13, "return", "the data")

    below = row(13.2) + 46
    drawing.box("run", 24, below - 10, BAR, BAR, 2)
    drawing.text(44, below, "runs")
    drawing.box("parked", 96, below - 10, BAR, BAR, 2)
    drawing.text(116, below, "is parked")
    drawing.text(
        EDGE,
        below,
        "On TCP, a recv that returned less than asked lets the next one park at once.",
        "",
        "end",
    )
    return drawing


if __name__ == "__main__":
    draw().write(__file__)
