"""The page: opened from its file in a headless Chromium, it shows the lanes, and a click shows the stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browser import browser, complaints, prefer_color_scheme

from .program import record_everything

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["browser"]  # the fixture

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "trace.html"
    record_everything(path)
    return path


@pytest.fixture
def page(browser: Chrome, recorded: Path) -> Chrome:
    complaints(browser)  # those of the tests before
    prefer_color_scheme(browser, "light")
    browser.get(recorded.as_uri())
    wait_for(browser, "return trace.isDrawn()")
    return browser


def wait_for(page: Chrome, script: str, *arguments: object) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 20).until(lambda page: page.execute_script(script, *arguments))


def click(page: Chrome, lane: int, ticks: float) -> None:
    """Click at a moment in a lane."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = page.find_element("id", "timeline")
    size = canvas.size
    x, y = page.execute_script("return [trace.xOf(arguments[0]), trace.yOf(arguments[1]) + 25]", ticks, lane)
    actions = ActionChains(page)
    actions.move_to_element_with_offset(canvas, x - size["width"] / 2, y - size["height"] / 2)
    actions.click().perform()


FIND_RUN = """
const [text, call] = arguments, { lanes, greenlets, waits, names } = trace.data;
for (let lane = 0; lane < lanes.length; lane += 1) {
  const { runs } = lanes[lane];
  for (let at = 0; at < runs.length; at += 6) {
    const [, , , name] = greenlets[runs[at + 2]];
    const wait = waits[runs[at + 4]];
    if (names[name].endsWith(text) && wait && names[wait[3]] === call && runs[at + 5] >= 0) {
      return [lane, at / 6, runs[at], runs[at + 1]];
    }
  }
}
"""


def details(page: Chrome) -> str:
    return page.find_element("id", "details").text


def test_it_opens_without_complaints_and_has_a_lane_for_each_hub(page: Chrome) -> None:
    assert complaints(page) == []
    lanes = [lane.text.splitlines()[0] for lane in page.find_elements("css selector", ".lane")]
    assert lanes[0] == "MainThread"
    assert len(lanes) == 3
    assert "3 hubs" in page.find_element("id", "summary").text
    assert not page.find_element("id", "warning").is_displayed()


def test_it_loads_nothing(page: Chrome) -> None:
    assert (
        page.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)") == []
    )


def test_something_is_drawn_in_each_lane(page: Chrome) -> None:
    colors = """
    const canvas = document.getElementById("timeline"), pen = canvas.getContext("2d");
    return trace.data.lanes.map((_, lane) => {
      const row = pen.getImageData(160, trace.yOf(lane) + 25, canvas.width - 170, 1).data;
      return new Set(Array.from({length: row.length / 4}, (_, i) => row.slice(4 * i, 4 * i + 3).join())).size;
    });
    """
    assert all(count > 1 for count in page.execute_script(colors))


def test_a_click_shows_why_it_ran_and_why_it_parked_with_the_stack(page: Chrome) -> None:
    lane, _, start, end = page.execute_script(FIND_RUN, "consume", "Queue.get")
    width = max(end - start, 1)
    page.execute_script("trace.setView(arguments[0], arguments[1])", start - 2 * width, end + 2 * width)
    wait_for(page, "return trace.isDrawn()")
    click(page, lane, (start + end) / 2)
    text = details(page)
    assert "consume" in text
    assert "WHY IT RUNS" in text
    assert "woken by" in text
    assert "THEN IT PARKS" in text
    stack = page.find_element("css selector", "#details ol.stack").text
    assert "consume" in stack
    assert "program.py:" in stack
    assert complaints(page) == []


def test_the_waker_is_a_link(page: Chrome) -> None:
    lane, run, _, _ = page.execute_script(FIND_RUN, "consume", "Queue.get")
    page.execute_script("trace.select({lane: arguments[0], run: arguments[1]}, true)", lane, run)
    link = page.find_element("xpath", "//section//button[contains(., 'produce')]")
    link.click()
    assert details(page).splitlines()[0].split(" · ")[1].startswith("produce")


def test_the_stall_is_marked_and_found(page: Chrome) -> None:
    count = page.execute_script("return trace.data.lanes.flatMap((lane) => lane.stalls).length")
    text = ""
    for _ in range(count):
        # A busy machine may add others.
        if "compute_too_long" not in text:
            page.find_element("id", "next-stall").click()
            text = details(page)
    assert "compute_too_long" in text
    assert "keeps its hub for" in text
    assert "compute_too_long" in page.find_element("css selector", "#details ol.stack").text
    wait_for(page, "return trace.isDrawn()")
    # Something of its color, which nothing else has, is above the bar.
    color = page.execute_script(
        """
        const { lane, run } = trace.selected();
        const [start, end] = trace.data.lanes[lane].runs.slice(run * 6);
        const pen = document.getElementById("timeline").getContext("2d");
        const x = trace.xOf((start + end) / 2);
        return [...pen.getImageData(x, trace.yOf(lane) + 4, 1, 1).data.slice(0, 3)];
        """
    )
    assert color == [0xD3, 0x30, 0x2F]


def test_an_idle_hub_is_asleep(page: Chrome) -> None:
    lane, start, end = page.execute_script(
        """
        const lane = trace.data.lanes.findIndex(({ polls }) => polls.some(([a, b]) => b - a > 20000));
        return [lane, ...trace.data.lanes[lane].polls.find(([a, b]) => b - a > 20000)];
        """
    )[:3]
    page.execute_script("trace.setView(arguments[0], arguments[1])", start, end)
    wait_for(page, "return trace.isDrawn()")
    click(page, lane, (start + end) / 2)
    assert "is asleep" in details(page)


def test_zoom_and_pan(page: Chrome) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    def view() -> tuple[float, float]:
        first, last = page.execute_script("return [trace.view.from, trace.view.to]")
        return first, last

    whole = view()
    canvas = page.find_element("id", "timeline")
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -400).perform()
    near = view()
    assert near[1] - near[0] < whole[1] - whole[0]
    ActionChains(page).drag_and_drop_by_offset(canvas, 60, 0).perform()
    assert view()[0] < near[0]
    page.find_element("id", "fit").click()
    assert view() == whole
    page.find_element("id", "zoom-in").click()
    assert view()[1] - view()[0] < whole[1] - whole[0]


def test_the_search_finds_runs(page: Chrome) -> None:
    box = page.find_element("css selector", "#search input")
    box.send_keys("produce\n")
    assert page.find_element("css selector", "#search output").text == "1 found"
    assert "produce" in details(page).splitlines()[0]


def test_dark_and_light(page: Chrome) -> None:
    def background() -> str:
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    light = background()
    prefer_color_scheme(page, "dark")
    wait_for(page, "return getComputedStyle(document.body).backgroundColor !== arguments[0]", light)
    assert complaints(page) == []


def test_no_name_ends_the_script_that_it_stands_in(browser: Chrome, tmp_path: Path) -> None:
    import greenpool
    import greenpool.trace

    def program() -> None:
        greenpool.sleep(0.001)

    program.__qualname__ = "</script><b>&amp;\u2028"
    with greenpool.trace.record(tmp_path / "t.html"):
        greenpool.spawn(program).join()
    browser.get((tmp_path / "t.html").as_uri())
    wait_for(browser, "return trace.isDrawn()")
    assert "</script><b>&amp;\u2028" in browser.execute_script("return trace.data.names")
    assert complaints(browser) == []


def test_an_empty_recording_and_one_that_ended_early(browser: Chrome, tmp_path: Path) -> None:
    from greenpool._core.recorder import Recorded
    from greenpool.trace import write

    write(Recorded(1, 0.0, 0.0, 0.0, [], [], 0.1, 5000), tmp_path / "t.html")
    browser.get((tmp_path / "t.html").as_uri())
    wait_for(browser, "return trace.isDrawn()")
    assert "its limit of 5,000 entries" in browser.find_element("id", "warning").text
    assert complaints(browser) == []
