"""The book that `make report` publishes: built without a warning, complete offline."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kvlab.paths import BOOK


class References(HTMLParser):
    """Collects what a page loads by itself (not what a reader may click) and its scripts' text."""

    def __init__(self, page: Path):
        super().__init__()
        self.loaded, self.films, self.scripts, self._in_script = [], [], "", False
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        self._in_script = tag == "script"
        self.films += [value for name, value in attrs if (tag, name) == ("source", "src")]
        names = {"link": ("href",), "a": (), "source": ()}.get(tag, ("src", "href", "data", "poster", "srcset"))
        self.loaded += [value for name, value in attrs if name in names and value]

    def handle_data(self, data):
        if self._in_script:
            self.scripts += data

    def handle_endtag(self, tag):
        self._in_script = False


def pages(html: Path) -> list[Path]:
    found = sorted(html.rglob("*.html"))
    assert html / "index.html" in found and len(found) > 3
    return [page for page in found if "_static" not in page.parts]


def test_every_page_of_the_book_is_there(html):
    built = {page.stem for page in (html / "book").glob("*.html")}
    assert built == {source.stem for source in BOOK.glob("*.md")}


def test_a_page_loads_nothing_from_another_server_and_nothing_that_is_missing(html):
    for page in pages(html):
        references = References(page)
        assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+/\S*", references.scripts) == [], page.name
        for value in references.loaded:
            address = urlsplit(value)
            assert not address.netloc and address.scheme in ("", "data"), f"{page.name} loads {value}"
            if address.path and not address.scheme:
                assert (page.parent / unquote(address.path)).exists(), f"{page.name} misses {value}"
        there = {Path(one).name for one in references.films if (page.parent / one).exists()}
        assert {Path(one).name for one in references.films} == there, page.name  # notebooks have them elsewhere


def test_style_sheets_load_nothing_from_another_server(html):
    for sheet in html.rglob("*.css"):
        assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']*", sheet.read_text()) == [], sheet.name
