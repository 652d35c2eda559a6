"""The picture of the landing page: a pool, its hubs, and their greenlets."""

from __future__ import annotations

from svg import Drawing

WIDTH = 800
MAIN_X, MAIN_WIDTH = 16, 150
HUB_X, HUB_WIDTH, HUB_HEIGHT = 250, 534, 92
GAP = 14
TOP = 44
GREENLET_WIDTH, GREENLET_HEIGHT = 118, 44

# What the greenlets of each hub do. The first one runs.
HUBS = (
    ("runs", "waits for data", "waits for a lock", "sleeps"),
    ("runs", "waits for a client", "waits for a queue", "waits for data"),
)


def hub(drawing: Drawing, top: int, number: int, greenlets: tuple[str, ...]) -> None:
    drawing.box("area", HUB_X, top, HUB_WIDTH, HUB_HEIGHT)
    drawing.text(HUB_X + 12, top + 22, f"hub {number}", "head")
    drawing.text(HUB_X + HUB_WIDTH - 12, top + 22, "an OS thread with an event loop", "faint", "end")
    for place, does in enumerate(greenlets):
        x = HUB_X + 12 + place * (GREENLET_WIDTH + 12)
        kind = "run" if does == "runs" else "parked"
        drawing.named(kind, x, top + 36, GREENLET_WIDTH, GREENLET_HEIGHT, "greenlet", does)


def draw() -> Drawing:
    bottom = TOP + len(HUBS) * (HUB_HEIGHT + GAP) - GAP
    drawing = Drawing(
        WIDTH,
        bottom + 88,
        "A pool of two hubs. On each hub one greenlet runs, and three wait."
        " The main function spawns on the hubs in turn.",
    )
    drawing.box("dashed", HUB_X - 12, TOP - 12, WIDTH - HUB_X + 8, bottom - TOP + 24, 10)
    drawing.text(HUB_X - 4, TOP - 20, "the pool", "head")
    middle = (TOP + bottom) // 2
    drawing.named("box", MAIN_X, middle - 26, MAIN_WIDTH, 52, "main()", "spawns, hub by hub")
    bend = (MAIN_X + MAIN_WIDTH + HUB_X) // 2 - 6
    for index, greenlets in enumerate(HUBS):
        top = TOP + index * (HUB_HEIGHT + GAP)
        hub(drawing, top, index + 1, greenlets)
        y = top + HUB_HEIGHT // 2
        drawing.arrow("other", (MAIN_X + MAIN_WIDTH, middle), (bend, middle), (bend, y), (HUB_X, y))
    words = (
        "A greenlet that waits lets the others of its hub run. It stays on its hub, and so do its children.",
        "Hubs run in parallel where Python has no GIL. Greenlets of all hubs may share locks and queues.",
    )
    for row, line in enumerate(words):
        drawing.text(MAIN_X, bottom + 40 + 22 * row, line)
    return drawing


if __name__ == "__main__":
    draw().write(__file__)
