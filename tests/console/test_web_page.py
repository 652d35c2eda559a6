"""The live page in a browser: lists, search, details, and what it shows as the process goes on and ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from browser import browser, complaints, prefer_color_scheme

from .live_page import Site, directory, site, start

pytest.importorskip("httptools")
Keys = pytest.importorskip("selenium.webdriver", reason="selenium is not installed").Keys

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["browser", "directory", "site", "start"]  # the fixtures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class View:
    """The page in a browser."""

    def __init__(self, driver: Chrome, site: Site) -> None:
        self.driver = driver
        driver.get(site.address)
        self.wait_for(lambda: self.text("#status") == "live")

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until *condition* holds, or the test's time is over."""
        while not condition():
            time.sleep(0.02)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that are shown, in one step of the page."""
        script = """
            const found = [...document.querySelectorAll(arguments[0])];
            return found.filter((each) => each.offsetParent !== null).map((each) => each.innerText);
        """
        texts: list[str] = self.driver.execute_script(script, selector)
        return texts

    def text(self, selector: str) -> str:
        return "\n".join(self.texts(selector))

    def search(self, text: str) -> None:
        field = self.driver.find_element("id", "search")
        field.clear()
        field.send_keys(text)

    def groups(self) -> list[str]:
        return self.texts("#canvas .row.group .name")

    def click(self, selector: str, text: str) -> None:
        """Click the first element that has *text*; in one step, because rows are drawn anew."""
        script = """
            const found = [...document.querySelectorAll(arguments[0])]
                .find((each) => each.offsetParent !== null && each.innerText.includes(arguments[1]));
            if (found) found.click();
            return Boolean(found);
        """
        self.wait_for(lambda: self.driver.execute_script(script, selector, text))

    def count_nodes(self) -> int:
        count: int = self.driver.execute_script("return document.getElementsByTagName('*').length")
        return count


@pytest.fixture
def view(browser: Chrome, site: Site) -> Iterator[View]:
    view = View(browser, site)
    yield view
    # What the browser says when a test ends the server.
    assert [each for each in complaints(browser) if "net::ERR_" not in each] == []
    names = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in names if not name.startswith((site.address, "data:"))] == []


def test_it_lists_hubs_and_groups_of_equal_stacks(view: View, site: Site) -> None:
    assert view.text("#process") == f"process {site.process.pid}"
    assert view.texts(".hub h3 b") == ["MainThread", "greenpool-1", "greenpool-2"]
    assert "live" in view.texts(".hub p")[0]
    first, *others = view.groups()
    assert first.startswith("▸ 20 parked in Event.wait at program.py:")
    assert any("parked in" in each and each.endswith(" want") for each in others)
    assert view.text("#found").startswith("2")
    assert view.texts("#canvas .row.member") == []
    view.click("#canvas .row.group", "wait_for_letter")
    members = view.texts("#canvas .row.member .name")
    assert len(members) >= 5
    assert all('"reader-' in each for each in members)


def test_it_lists_each_greenlet_in_the_order_that_is_asked_for(view: View) -> None:
    view.click("#views button", "Each greenlet")
    view.click("#head button", "Greenlet")
    names = view.texts("#canvas .row .name")
    assert names == sorted(names)
    view.click("#head button", "Greenlet")
    assert view.texts("#canvas .row .name") != names


def test_the_search_looks_at_names_states_waits_and_stacks(view: View) -> None:
    view.click("#views button", "Each greenlet")
    for words, expected in (
        ("reader-13", ['"reader-13"']),
        ("HOLDER", ['"holder"', '"wanter"']),
        ("acquire", ['"wanter"']),
        ("program.py want", ['"wanter"']),
        ("nothing has this", []),
    ):
        view.search(words)
        view.wait_for(lambda: view.text("#found").startswith(f"{len(expected)} greenlet"))  # noqa: B023
        names = view.texts("#canvas .row .name")
        assert all(any(part in name for name in names) for part in expected)
        assert len(names) == len(expected)


def test_the_states_filter(view: View) -> None:
    view.click("#views button", "Each greenlet")
    view.click("#states button", "running")
    view.wait_for(lambda: set(view.texts("#canvas .row .state")) <= {"running"})
    view.click("#states button", "running")
    view.wait_for(lambda: "parked" in view.texts("#canvas .row .state"))


def test_a_click_shows_stack_wait_holder_and_spawner(view: View) -> None:
    view.click("#views button", "Each greenlet")
    view.search("wanter")
    view.click("#canvas .row", '"wanter"')
    details = view.text("#details")
    assert '"wanter"' in details.splitlines()[0]
    assert "LockType.acquire: " in details or "Lock.acquire: " in details
    assert "Held by\n\nGreenlet-" in details
    assert "Spawned by\n\n" in details
    assert "program.py" in details
    frames = view.texts("#details .frame b")
    assert frames[0] == "want"
    # The holder is a link.
    view.click("#details .link", '"holder"')
    assert '"holder"' in view.texts("#details h2")[0]
    assert view.texts("#details .frame b")[0] == "hold"


def test_keys_move_through_the_list(view: View) -> None:
    view.click("#views button", "Each greenlet")
    body = view.driver.find_element("tag name", "body")
    body.send_keys("/")
    assert view.driver.switch_to.active_element.get_attribute("id") == "search"
    view.driver.find_element("id", "viewport").send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    names = view.texts("#canvas .row .name")
    assert view.texts("#details h2") == [names[1]]
    assert view.texts("#canvas .row[aria-selected=true] .name") == [names[1]]


def test_it_goes_on_living(view: View, site: Site) -> None:
    view.click("#views button", "Each greenlet")
    view.search("late-comer")
    view.wait_for(lambda: view.text("#found").startswith("0"))
    site.tell("start late-comer")
    view.click("#canvas .row", '"late-comer"')
    site.tell("wake")
    view.wait_for(lambda: "This greenlet has ended." in view.text("#details"))
    assert "Event.wait" in view.text("#details")
    view.wait_for(lambda: view.text("#found").startswith("0"))


def test_ten_thousand_greenlets_take_no_more_elements(view: View, site: Site) -> None:
    view.click("#views button", "Each greenlet")
    view.search("event.wait")
    few = view.count_nodes()
    site.tell("many 10000")
    view.wait_for(lambda: view.text("#found").startswith("10,0"))
    # Twenty rows filled a part of the list; now it is full.
    assert view.count_nodes() < few + 6 * 40
    # Each place of the list can be reached, and the last row is the last greenlet.
    view.click("#head button", "Greenlet")
    seen = set()
    for part in (0.25, 0.5, 0.75, 1.0):
        view.driver.execute_script(
            "arguments[0].scrollTop = arguments[0].scrollHeight * arguments[1]",
            view.driver.find_element("id", "viewport"),
            part,
        )
        view.wait_for(lambda: set(view.texts("#canvas .row .name")) - seen)  # noqa: B023
        seen |= set(view.texts("#canvas .row .name"))
        assert view.count_nodes() < few + 6 * 40
    # One group has them all.
    view.click("#views button", "Equal stacks")
    assert view.groups()[0].startswith("▸ 10,000 parked in Event.wait")
    # The page answers a search at once.
    view.search("reader-13")
    view.wait_for(lambda: view.text("#found").startswith("1 greenlet of 10,0"))


def test_stalls_are_shown_with_their_stack(view: View, site: Site) -> None:
    site.tell("compute")
    view.click("#stall-list button", '"computer"')
    assert "compute" in view.texts("#details .frame b")
    view.wait_for(lambda: "was kept for" in view.text("#stall-list"))
    assert view.texts(".hub.stalled") == []


def test_the_end_of_the_process_is_shown(view: View, site: Site) -> None:
    site.process.kill()
    view.wait_for(lambda: view.text("#status") == "ended")
    assert f"Process {site.process.pid} has ended." in view.text("#banner")
    # What was seen last stays.
    view.click("#canvas .row.group", "wait_for_letter")
    assert len(view.texts("#canvas .row.member")) >= 5


def test_the_loss_of_the_server_is_shown(view: View, site: Site) -> None:
    site.server.kill()
    view.wait_for(lambda: "is lost" in view.text("#banner"))


def test_a_process_that_is_stopped_is_shown(view: View, site: Site) -> None:
    site.process.send_signal(signal.SIGSTOP)
    try:
        view.wait_for(lambda: "is late by" in view.text("#banner"))
    finally:
        site.process.send_signal(signal.SIGCONT)
    view.wait_for(lambda: view.text("#status") == "live" and not view.text("#banner"))


def test_names_of_the_program_are_text(view: View, site: Site) -> None:
    site.tell("start <img/src=x/onerror=document.title='broken'>")
    view.click("#views button", "Each greenlet")
    view.search("onerror")
    view.click("#canvas .row", "<img")
    assert "<img" in view.text("#details h2")
    assert view.driver.title == f"greenpool {site.process.pid}"


def test_it_is_dark_for_a_user_who_prefers_that(view: View) -> None:
    def brightness() -> int:
        script = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        return sum(view.driver.execute_script(script))

    try:
        prefer_color_scheme(view.driver, "light")
        light = brightness()
        prefer_color_scheme(view.driver, "dark")
        assert brightness() < light / 4
    finally:
        prefer_color_scheme(view.driver, "light")
