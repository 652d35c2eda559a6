"""dask's threaded scheduler over a Handle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import greenpool
from greenpool import Runtime

dask = pytest.importorskip("dask")

pytestmark = pytest.mark.slow


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with Runtime(pool_size=3) as runtime:
        yield runtime


def where(_: int) -> int | None:
    # Longer than a hub takes to begin with it, so that no hub gets all of them.
    greenpool.sleep(0.01)
    return greenpool.get_hub().index


@pytest.mark.parametrize("way", ["pool", "scheduler"])
def test_a_handle_runs_the_tasks_of_a_graph(runtime: Runtime, way: str) -> None:
    handle = runtime.handle()
    settings = {"pool": handle, "scheduler": "threads"} if way == "pool" else {"scheduler": handle}
    with dask.config.set(settings):
        squares = [dask.delayed(pow)(number, 2) for number in range(30)]
        assert dask.compute(dask.delayed(sum)(squares)) == (sum(number**2 for number in range(30)),)
        hubs = dask.compute(*[dask.delayed(where)(number) for number in range(12)])
        assert set(hubs) == {0, 1, 2}
        with pytest.raises(ZeroDivisionError):
            dask.compute(dask.delayed(lambda: 1 / 0)())
