"""A crawler: follows the links of a site, so many requests at a time, and prints what it found.

    python examples/crawler.py URL [DEPTH]

The Pool limits how many pages are fetched at a time, and ``spread=True`` places the fetches on all hubs in
turn. ``fetch`` is in ``pages.py``, and fetches by ``urllib``, which is the standard library's own: patching
makes it park the greenlet instead of the thread.
"""

from __future__ import annotations

from greenpool import monkey

monkey.patch_all()

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from pages import Page, fetch

import greenpool
from greenpool.pool import Pool

CONNECTIONS = 20


def crawl(start: str, depth: int) -> Iterator[Page]:
    """Every page of the site that *depth* links lead to, each as soon as it is there."""
    site = urlsplit(start)[:2]
    seen = {start}
    level = [start]
    pool = Pool(CONNECTIONS, spread=True)
    for _ in range(depth + 1):
        following = []
        for page in pool.imap_unordered(fetch, level):
            yield page
            for link in page.links:
                if link not in seen and urlsplit(link)[:2] == site:
                    seen.add(link)
                    following.append(link)
        level = following


def main(start: str, depth: str = "3") -> None:
    for page in crawl(start, int(depth)):
        print(f"{page.status:4} {len(page.links):4} links  {page.url}")


if __name__ == "__main__":
    greenpool.run(main, *sys.argv[1:])
