"""The pages as a reader sees them, on a desk and on a phone: measured in a browser."""

import re

import pytest

from converted import ASKED, NEW

DESK, PHONE = 1400, 390
IMAGES = """[...document.querySelectorAll('.cell_output img')].map(
    i => ({src: i.getAttribute('src'), width: i.clientWidth, top: i.getBoundingClientRect().top + scrollY}))"""
BOXES = """[...document.querySelectorAll('.bd-article .cell_output, .bd-article .cell_output *')]
    .filter(b => b.scrollWidth > b.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(b).overflowX))
    .map(b => getComputedStyle(b, '::before').content)"""
DATA = """[...document.querySelectorAll('table.dataframe')].map(
    t => t.querySelector('tbody td').getBoundingClientRect().right)"""


def smallest_text(svg: str) -> tuple[float, float]:
    """The smallest font and the width of a figure by matplotlib, in its own units: letters are drawn at size / 100."""
    sizes = [100 * float(scale) for scale in re.findall(r"scale\(([\d.]+) -[\d.]+\)", svg)]
    return min(sizes), float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])


@pytest.fixture
def page(html, browser):
    """`page(name, width)`: the chapter, open at that width; its images as the browser measures them."""

    def opened(name: str, width: int) -> list[dict]:
        browser.open((html / "book" / f"{name}.html").as_uri(), width)
        return browser.evaluate(IMAGES)

    return opened


@pytest.mark.parametrize("name", ASKED)
def test_the_figure_that_answers_is_on_the_first_screens(page, name):
    assert page(name, DESK)[0]["top"] < 1200


@pytest.mark.parametrize("name", NEW)
def test_a_phone_shows_readable_figures_and_some_data_of_each_table(page, html, browser, name):
    for image in page(name, PHONE):
        size, width = smallest_text((html / "book" / image["src"]).read_text())
        assert size * image["width"] / width >= 9 and image["width"] <= PHONE, image["src"]
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert [right for right in browser.evaluate(DATA) if right > PHONE] == []


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_what_is_wider_than_the_page_says_so(page, browser, name, width):
    page(name, width)
    assert [hint for hint in browser.evaluate(BOXES) if "scroll" not in hint] == []
