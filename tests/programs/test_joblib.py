"""joblib's Parallel with the backend of greenpool.joblib."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator

import pytest

import greenpool

joblib = pytest.importorskip("joblib")

import greenpool.joblib  # noqa: E402
from greenpool.lock import Barrier, Semaphore  # noqa: E402

SECONDS = 20


@pytest.fixture(autouse=True)
def backend(leak_check: None) -> Iterator[None]:
    greenpool.joblib.register()
    with joblib.parallel_config(backend="greenpool", n_jobs=100):
        yield


def all_of(function: Callable[..., object], count: int, **options: object) -> list[object]:
    return list(joblib.Parallel(**options)(joblib.delayed(function)(number) for number in range(count)))


def test_as_many_calls_at_a_time_as_there_are_jobs() -> None:
    barrier = Barrier(100)
    running = Semaphore(100)

    def meet(number: int) -> int:
        assert running.acquire(blocking=False)
        barrier.wait(SECONDS)
        running.release()
        return number

    assert all_of(meet, 300) == list(range(300))


def test_another_number_of_jobs() -> None:
    running = Semaphore(7)

    def check(number: int) -> str:
        assert running.acquire(blocking=False)
        greenpool.sleep(0.001)
        running.release()
        return threading.current_thread().name

    assert all(str(name).startswith("joblib-hub-") for name in all_of(check, 50, n_jobs=7))


def test_results_as_they_come() -> None:
    def sleep(number: int) -> int:
        greenpool.sleep(0.1 * number)
        return number

    assert list(all_of(lambda number: sleep(2 - number), 3, return_as="generator_unordered")) == [0, 1, 2]


def test_parallel_calls_within_a_call() -> None:
    def squares(number: int) -> list[object]:
        return all_of(lambda number: number**2, number, n_jobs=2)

    assert all_of(squares, 4) == [[], [0], [0, 1], [0, 1, 4]]


def test_one_call_that_fails_ends_the_others() -> None:
    ended: list[int] = []

    def fail(number: int) -> None:
        try:
            greenpool.sleep(0.01 if number == 3 else 600)
            raise ValueError(number)
        finally:
            ended.append(number)

    with joblib.Parallel() as parallel:
        with pytest.raises(ValueError, match="3"):
            parallel(joblib.delayed(fail)(number) for number in range(10))
        assert sorted(ended) == list(range(10))
        assert parallel(joblib.delayed(abs)(number) for number in (-1, -2)) == [1, 2]


def test_a_time_limit() -> None:
    with pytest.raises(multiprocessing.TimeoutError):
        all_of(lambda number: greenpool.sleep(600), 2, timeout=0.05)


@pytest.mark.parametrize(("jobs", "expected"), [(None, 1), (5, 5), (-1, joblib.cpu_count())])
def test_how_many_jobs_a_number_stands_for(jobs: int | None, expected: int) -> None:
    assert greenpool.joblib.GreenBackend().effective_n_jobs(jobs) == expected


def test_no_jobs_are_refused() -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        greenpool.joblib.GreenBackend().effective_n_jobs(0)
