"""One pool: its hubs, what each of them has, and the two ways into a hub from outside."""

from __future__ import annotations

from svg import Drawing

WIDTH = 800
HUB_X = 100
HUB_WIDTH = 668
HUB_HEIGHT = 206
# Of the boxes in a hub.
SOURCE_X, SOURCE_WIDTH, SOURCE_HEIGHT = 116, 132, 42
MERGE_X = 276
QUEUE_X, QUEUE_WIDTH, QUEUE_HEIGHT = 300, 208, 46
CELL = 45
RUNNING_X, RUNNING_WIDTH = 544, 92
PARKED_X, PARKED_WIDTH = 664, 88
POST_X = 200
KERNEL_X, KERNEL_WIDTH = 16, 36


def hub(
    drawing: Drawing, top: int, number: int, descriptors: str, turns: str, running: str, parked: str
) -> None:
    drawing.box("area", HUB_X, top, HUB_WIDTH, HUB_HEIGHT)
    drawing.text(SOURCE_X, top + 24, f"hub {number}", "head")
    drawing.text(HUB_X + HUB_WIDTH - 16, top + 24, f"OS thread greenpool-{number}", "faint", "end")

    rows = [top + 44 + (SOURCE_HEIGHT + 10) * row for row in range(3)]
    middle = rows[1] + SOURCE_HEIGHT // 2
    drawing.named("post", SOURCE_X, rows[0], SOURCE_WIDTH, SOURCE_HEIGHT, "inbox", "any thread posts")
    drawing.named("box", SOURCE_X, rows[1], SOURCE_WIDTH, SOURCE_HEIGHT, "timers", "a heap of deadlines")
    drawing.named("kernel", SOURCE_X, rows[2], SOURCE_WIDTH, SOURCE_HEIGHT, "poller", f"epoll: {descriptors}")
    for row in (rows[0], rows[2]):
        y = row + SOURCE_HEIGHT // 2
        drawing.line("arrow flow", (SOURCE_X + SOURCE_WIDTH, y), (MERGE_X, y), (MERGE_X, middle))
    drawing.arrow("flow", (SOURCE_X + SOURCE_WIDTH, middle), (QUEUE_X, middle))

    queue_top = middle - QUEUE_HEIGHT // 2
    drawing.box("box", QUEUE_X, queue_top, QUEUE_WIDTH, QUEUE_HEIGHT)
    drawing.text(QUEUE_X + QUEUE_WIDTH // 2, queue_top + QUEUE_HEIGHT + 20, "ready queue", "strong", "middle")
    for place, turn in enumerate(turns.split()):
        x = QUEUE_X + 8 + (CELL + 4) * place
        drawing.box("cell", x, queue_top + 8, CELL, 30, 4)
        drawing.text(x + CELL // 2, queue_top + 28, turn, "", "middle")

    drawing.arrow("flow", (QUEUE_X + QUEUE_WIDTH, middle), (RUNNING_X, middle))
    drawing.named("run", RUNNING_X, queue_top, RUNNING_WIDTH, QUEUE_HEIGHT, running, "runs")
    drawing.arrow("flow", (RUNNING_X + RUNNING_WIDTH, middle), (PARKED_X, middle))
    drawing.named("parked", PARKED_X, queue_top, PARKED_WIDTH, QUEUE_HEIGHT, parked, "parked")

    above = queue_top - 36
    x = PARKED_X + PARKED_WIDTH // 2
    entry = QUEUE_X + 8 + CELL // 2
    drawing.arrow("back", (x, queue_top), (x, above), (entry, above), (entry, queue_top))
    drawing.text(x - 8, above + 18, "woken on its own hub", "faint", "end")

    y = rows[2] + SOURCE_HEIGHT // 2
    drawing.arrow("flow", (KERNEL_X + KERNEL_WIDTH, y), (SOURCE_X, y))


def draw() -> Drawing:
    first = 112
    second = first + HUB_HEIGHT + 48
    last = second + HUB_HEIGHT + 14
    bottom = last + 34
    drawing = Drawing(
        WIDTH,
        bottom + 110,
        "A pool: each hub is a thread with an inbox, timers and a poller, which all feed its ready queue."
        " Other threads and hubs reach it through its inbox only.",
    )
    drawing.box("dashed", HUB_X - 16, first - 16, HUB_WIDTH + 32, bottom - first + 32, 10)
    drawing.text(HUB_X + HUB_WIDTH, first - 26, "the pool", "head", "end")
    drawing.box("kernel", KERNEL_X, first, KERNEL_WIDTH, bottom - first)
    drawing.upright(KERNEL_X + 22, (first + bottom) // 2, "kernel: which descriptors are ready", "strong")

    hub(drawing, first, 1, "fd 7, fd 9", "mark new g8 g5", "g3", "g1, g6")
    hub(drawing, second, 2, "fd 4, fd 12", "g4 mark g9 g2", "g7", "g0")
    drawing.box("dashed", HUB_X, last, HUB_WIDTH, 34)
    drawing.text(
        HUB_X + HUB_WIDTH // 2, last + 22, "and so on: by default a hub for each CPU", "faint", "middle"
    )

    drawing.named("box", HUB_X, 16, 204, 46, "an OS thread, no hub", "handle.spawn(fn)")
    drawing.arrow("other", (POST_X, 62), (POST_X, first + 44))
    drawing.number(POST_X, 79, 1, "other-number")
    gap = first + HUB_HEIGHT + 24
    running = RUNNING_X + RUNNING_WIDTH // 2
    leaving = first + 44 + SOURCE_HEIGHT + 10 + SOURCE_HEIGHT // 2 + QUEUE_HEIGHT // 2
    drawing.arrow("other", (running, leaving), (running, gap), (POST_X, gap), (POST_X, second + 44))
    drawing.number((POST_X + running) // 2, gap, 2, "other-number")

    legend = bottom + 16 + 28
    spawn = "A spawn from outside posts a task to the hub whose turn it is, and wakes that hub if it sleeps."
    wake = "g3 wakes a greenlet of hub 2: it posts that greenlet to the inbox of hub 2."
    for number, line in enumerate((spawn, wake), start=1):
        drawing.number(HUB_X - 7, legend - 5, number, "other-number")
        drawing.text(HUB_X + 12, legend, line)
        legend += 24
    words = (
        "In the ready queues, “new” is a task that has not begun, and “mark” is the turn of the hub’s loop."
    )
    drawing.text(HUB_X - 16, legend, words)
    return drawing


if __name__ == "__main__":
    draw().write(__file__)
