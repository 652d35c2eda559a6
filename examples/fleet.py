"""One crawl on one machine or on many: the same ``fetch`` in a pool, under Celery and under Dask.

    python fleet.py here URL [DEPTH]

    export CELERY_CUSTOM_WORKER_POOL=greenpool.celery:TaskPool BROKER=redis://localhost:6379/0
    celery -A fleet_tasks worker -P custom -c 500          # on each machine
    python fleet.py celery URL [DEPTH]

    dask scheduler
    dask worker tcp://localhost:8786 --nthreads 500 --preload greenpool.dask          # on each machine
    python fleet.py dask URL [DEPTH]

The crawl knows nothing of that: it is given ``here``, ``by_celery`` or ``by_dask``, which takes URLs and
yields pages. The scheduler of Dask is where the variable ``SCHEDULER`` says.
"""

from __future__ import annotations

from greenpool import monkey

monkey.patch_all()

import os
import sys
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pages
from pages import Page, fetch

import greenpool
from greenpool.pool import Pool

AT_A_TIME = 500
SCHEDULER = "tcp://localhost:8786"

Map = Callable[[list[str]], Iterator[Page]]


def here(urls: list[str]) -> Iterator[Page]:
    return Pool(AT_A_TIME, spread=True).imap_unordered(fetch, urls)


def by_celery(urls: list[str]) -> Iterator[Page]:
    from fleet_tasks import fetch_page

    for result in [fetch_page.delay(url) for url in urls]:
        yield Page(*result.get())


def by_dask(urls: list[str]) -> Iterator[Page]:
    from distributed import as_completed, get_client

    for _, page in as_completed(get_client().map(fetch, urls, pure=False), with_results=True):
        yield page


def crawl(start: str, depth: int, pages_of: Map) -> Iterator[Page]:
    """Every page of the site that *depth* links lead to, each as soon as it is there."""
    site = urlsplit(start)[:2]
    seen = {start}
    level = [start]
    for _ in range(depth + 1):
        following = []
        for page in pages_of(level):
            yield page
            for link in page.links:
                if link not in seen and urlsplit(link)[:2] == site:
                    seen.add(link)
                    following.append(link)
        level = following


def show(start: str, depth: str, pages_of: Map) -> None:
    for page in crawl(start, int(depth), pages_of):
        print(f"{page.status:4} {len(page.links):4} links  {page.url}")


def show_by_dask(start: str, depth: str) -> None:
    from distributed import Client

    with Client(os.environ.get("SCHEDULER", SCHEDULER)) as client:
        client.upload_file(pages.__file__)
        show(start, depth, by_dask)


def main(where: str, start: str, depth: str = "3") -> None:
    if where == "dask":
        show_by_dask(start, depth)
    elif where == "celery":
        show(start, depth, by_celery)
    else:
        greenpool.run(show, start, depth, here)


if __name__ == "__main__":
    main(*sys.argv[1:])
