"""A crawler: follows the links of a site, so many requests at a time, and prints what it found.

    python examples/crawler.py URL [DEPTH]

The Pool limits how many pages are fetched at a time, and ``spread=True`` places the fetches on all hubs in
turn. ``urllib`` is the standard library's own: patching makes it park the greenlet instead of the thread.
"""

from __future__ import annotations

from greenpool import monkey

monkey.patch_all()

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.request import urlopen

import greenpool
from greenpool.pool import Pool

CONNECTIONS = 20
SECONDS = 10


@dataclass
class Page:
    url: str
    status: str
    links: list[str]


class Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def fetch(url: str) -> Page:
    try:
        with urlopen(url, timeout=SECONDS) as response:
            html = response.read().decode("utf-8", "replace")
            links = [urldefrag(urljoin(response.url, link)).url for link in Links(html).found]
            return Page(url, str(response.status), links)
    except HTTPError as error:
        error.close()
        return Page(url, str(error.code), [])
    except (OSError, ValueError) as error:
        return Page(url, str(error), [])


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
