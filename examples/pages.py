"""Fetches a page and finds its links, for ``crawler.py`` and ``fleet.py``.

This module does not patch, because the scheduler of Dask imports what the workers run.
"""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.error import HTTPError
from urllib.parse import urldefrag, urljoin
from urllib.request import urlopen

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
