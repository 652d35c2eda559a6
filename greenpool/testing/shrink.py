"""Makes a failing schedule shorter: fewer choices that are not the default."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def shrink(
    choices: Sequence[int], fails: Callable[[list[int]], list[int] | None], attempts: int
) -> list[int]:
    """A schedule that still fails, found in at most *attempts* runs.

    *fails(choices)* runs a schedule, and returns the choices that were made if it fails, else None.
    """
    best = _stripped(choices)
    left = attempts

    def attempt(shorter: list[int]) -> bool:
        nonlocal best, left
        shorter = _stripped(shorter)
        if left <= 0 or shorter == best:
            return False
        left -= 1
        made = fails(shorter)
        if made is None:
            return False
        made = _stripped(made)
        best = min(made, shorter, key=_weight)
        return True

    # The end first: most of what follows a fault's cause does not matter.
    length = len(best) // 2
    while length:
        if length >= len(best) or not attempt(best[: len(best) - length]):
            length //= 2
    # Then ever smaller blocks.
    size = max(1, len(best) // 2)
    while True:
        place, changed = 0, False
        while place < len(best) and left > 0:
            block = best[place : place + size]
            if any(block) and attempt(best[:place] + [0] * len(block) + best[place + size :]):
                changed = True
            place += size
        if left <= 0 or (size == 1 and not changed):
            return best
        size = max(1, size // 2)


def _stripped(choices: Sequence[int]) -> list[int]:
    end = len(choices)
    while end and not choices[end - 1]:
        end -= 1
    return list(choices[:end])


def _weight(choices: list[int]) -> tuple[int, int]:
    return sum(1 for choice in choices if choice), len(choices)
