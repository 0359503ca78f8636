"""Every published figure: nothing that is written lies on anything else, or leaves the figure."""

import pytest

from kvlab.paths import FIGURES

WRITTEN = """[...document.querySelectorAll('g[id^="text_"]')].filter(g => g.querySelector('use')).map(g => {
    const all = [...g.querySelectorAll('use')].map(letter => letter.getBoundingClientRect())
    const words = [...g.childNodes, ...[...g.children].flatMap(c => [...c.childNodes])]
    return {
        words: words.filter(n => n.nodeType == 8).map(n => n.data.trim()).join(' '),
        ground: Boolean(g.querySelector('g[id^="patch_"]')),
        left: Math.min(...all.map(r => r.left)), right: Math.max(...all.map(r => r.right)),
        top: Math.min(...all.map(r => r.top)), bottom: Math.max(...all.map(r => r.bottom))}})"""
SIZE = "(r => [r.width, r.height])(document.documentElement.getBoundingClientRect())"
# Of lines a point each pixel, of markers the corners and the middle, as far as their panel shows them; neither grids
# and ticks nor what a legend shows.
MARKS = """[...document.querySelectorAll('g[id^="axes_"] g[id^="line2d_"], g[id*="LineCollection_"]')]
    .filter(g => !g.closest('g[id^="matplotlib.axis"], g[id^="legend_"]'))
    .flatMap(g => [...g.querySelectorAll('use, path')]).filter(mark => !mark.closest('defs')).flatMap(mark => {
        const shown = mark.closest('[clip-path]'), to = document.documentElement.getScreenCTM()
        const of = shown && document.querySelector(shown.getAttribute('clip-path').slice(4, -1) + ' rect')
        const [x, y, w, h] = ['x', 'y', 'width', 'height'].map(side => of && of[side].baseVal.value)
        const r = mark.getBoundingClientRect(), long = mark.getTotalLength ? mark.getTotalLength() : 0
        const corners = [r.left, r.right, r.x + r.width / 2].flatMap(x => [r.top, r.bottom].map(y => [x, y]))
        const along = Array.from({length: long ? Math.ceil(long) + 1 : 0}, (_, n) => mark.getPointAtLength(n))
            .map(at => at.matrixTransform(to)).map(at => [at.x, at.y])
        return (mark.tagName == 'use' ? corners : along).filter(at => {
            const p = new DOMPoint(...at).matrixTransform(to.inverse())
            return !of || (p.x >= x && p.x <= x + w && p.y >= y && p.y <= y + h)})})"""
FIGURE = pytest.mark.parametrize("path", sorted(FIGURES.glob("*.svg")), ids=lambda path: path.stem)


def apart(one: dict, other: dict, across: float, up: float) -> bool:
    """Whether boxes have so many pixels of a 432-pixel figure between them, side by side or one above the other."""
    return (
        one["right"] + across <= other["left"]
        or other["right"] + across <= one["left"]
        or one["bottom"] + up <= other["top"]
        or other["bottom"] + up <= one["top"]
    )


@FIGURE
def test_no_words_lie_on_others_and_none_leave_the_figure(browser, path):
    browser.open(path.as_uri())
    written, (wide, high) = browser.evaluate(WRITTEN), browser.evaluate(SIZE)
    pairs = [(a, b) for n, a in enumerate(written) for b in written[:n] if not apart(a, b, across=4, up=1)]
    assert [(a["words"], b["words"]) for a, b in pairs] == []
    inside = [
        0 <= one["left"] and one["right"] <= wide and 0 <= one["top"] and one["bottom"] <= high for one in written
    ]
    assert [one["words"] for one, kept in zip(written, inside, strict=True) if not kept] == []


@FIGURE
def test_no_words_lie_on_data_or_lines_unless_they_have_a_ground(browser, path):
    browser.open(path.as_uri())
    marks = [{"left": x, "right": x, "top": y, "bottom": y} for x, y in browser.evaluate(MARKS)]
    words = [one for one in browser.evaluate(WRITTEN) if not one["ground"]]
    assert [one["words"] for one in words if not all(apart(one, mark, across=0, up=0) for mark in marks)] == []
