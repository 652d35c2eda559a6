"""The table of fork hooks: one order for all of them, and each of them is called."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greenpool._core import fork


def test_hooks_run_in_the_order_of_the_table_and_before_the_fork_backwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fork, "_table", {})
    calls: list[str] = []
    for name in reversed(fork.ORDER):
        fork.at_fork(
            name,
            before=lambda name=name: calls.append(f"before {name}"),  # type: ignore[misc]
            in_parent=lambda name=name: calls.append(f"parent {name}"),  # type: ignore[misc]
        )
    fork._before()
    fork._in_parent()
    assert calls == [
        *(f"before {name}" for name in reversed(fork.ORDER)),
        *(f"parent {name}" for name in fork.ORDER),
    ]


def test_a_hook_that_fails_keeps_no_other_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fail() -> None:
        calls.append("fails")
        raise KeyError

    hooks: list[Callable[[], object] | None] = [fail, None, lambda: calls.append("runs")]
    with pytest.raises(KeyError):
        fork._run(hooks)
    assert calls == ["fails", "runs"]


def test_a_name_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="name must be one of core locks, .*, not 'unknown'"):
        fork.at_fork("unknown")
