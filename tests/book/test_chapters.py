"""What every chapter promises its reader: its shape, its cells, its sentences, tables and figures."""

import re
from functools import cache
from html.parser import HTMLParser

import nbformat
import pytest

from converted import ASKED, NEW
from kvlab.book.contents import chapters, title
from kvlab.paths import BOOK

HEADINGS = ["Answer", "What supports it", "3 episodes or 100", "What this does not show", "Try this"]
MARKUP = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})\s*\{|\{[a-z][\w:-]*\}`", re.MULTILINE)
RESULT = re.compile(r"\d\s?%|\b\d+ of \d+\b|\d (?:ms|points)\b")
INTERVAL = re.compile(r"\(-?[\d.]+ to -?[\d.]+\)")


@cache
def cells(name: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(BOOK / f"{name}.ipynb", as_version=4).cells


def code(name: str) -> list:
    return [cell for cell in cells(name) if cell.cell_type == "code"]


def visible(name: str) -> list:
    return [cell for cell in code(name) if "remove-input" not in cell.metadata.get("tags", [])]


def markdown(name: str) -> list[str]:
    return [cell.source for cell in cells(name) if cell.cell_type == "markdown"]


def shown(cell, kind: str) -> list[str]:
    return [output.data[kind] for output in cell.get("outputs", []) if kind in output.get("data", {})]


def said(name: str) -> list[str]:
    """All that a chapter says: its own text, and what hidden cells put out."""
    return markdown(name) + [text for cell in code(name) for text in shown(cell, "text/markdown")]


def section(name: str, heading: str) -> list:
    """The cells from the one with this heading to the next one with a heading."""
    starts = [n for n, cell in enumerate(cells(name)) if re.search("^## ", cell.source, re.MULTILINE)]
    start = next(n for n in starts if f"## {heading}" in cells(name)[n].source.splitlines())
    end = next((n for n in starts if n > start), None)
    return cells(name)[start:end]


def sentences(text: str) -> list[str]:
    """Sentences without what is no prose: code, addresses of links, rows of tables, numbers of a list."""
    prose = re.sub(r"`[^`]*`|\]\([^)]*\)|^\s*\d+\. |^#.*$|^\|.*$", " ", text, flags=re.MULTILINE)
    return re.split(r"[.!?:;]\**\s+", prose)


def numbers(sentence: str) -> list[str]:
    return re.findall(r"\d[\d,.]*", sentence)


def test_sentences_and_their_numbers_are_told_apart():
    text = "1. **Rare.** In `libero_10` 21 % of replans reuse (1,600 of [3](a_4.md)). There 0.98 holds."
    assert [len(numbers(sentence)) for sentence in sentences(text)] == [0, 3, 1]


@pytest.mark.parametrize("name", ASKED)
class TestShape:
    def test_headings_come_in_the_one_order(self, name):
        found = [line[3:] for text in markdown(name) for line in text.splitlines() if line.startswith("## ")]
        assert [heading for heading in found if heading in HEADINGS] == HEADINGS

    def test_the_answer_has_at_most_four_findings_and_the_figure_follows(self, name):
        answer = section(name, "Answer")
        (findings,) = [text for cell in answer for text in shown(cell, "text/markdown") if text.startswith("1. ")]
        assert 1 <= len(re.findall(r"^\d\. \*\*", findings, re.MULTILINE)) <= 4
        assert sum(len(shown(cell, "image/svg+xml")) for cell in answer) == 1

    def test_what_would_be_run_is_said_before_the_run(self, name):
        before = cells(name)[: cells(name).index(visible(name)[1])]
        assert any("recorded" in text for cell in before for text in shown(cell, "text/markdown"))

    def test_three_or_hundred_is_one_figure(self, name):
        assert sum(len(shown(cell, "image/svg+xml")) for cell in section(name, "3 episodes or 100")) == 1

    def test_the_last_visible_cell_tries_something(self, name):
        assert visible(name)[-1] in section(name, "Try this")
        assert "attempt(" in visible(name)[-1].source and "episodes=3" in visible(name)[-1].source

    def test_each_parameter_has_a_comment(self, name):
        (cell,) = [cell for cell in code(name) if "parameters" in cell.metadata.get("tags", [])]
        declared = [line for line in cell.source.splitlines() if re.match(r"\w+:", line)]
        assert declared and [line for line in declared if "  # " not in line] == []


@pytest.mark.parametrize("name", NEW)
class TestChapter:
    def test_text_has_no_markup_that_only_one_reader_knows(self, name):
        assert [text for text in markdown(name) if MARKUP.search(text)] == []

    def test_a_reader_sees_at_most_three_code_cells(self, name):
        assert len(visible(name)) <= 3

    def test_visible_code_is_read_without_scrolling(self, name):
        assert [line for cell in visible(name) for line in cell.source.splitlines() if len(line) > 84] == []

    def test_what_is_not_on_the_page_is_folded_in_jupyterlab(self, name):
        hidden = [cell for cell in code(name) if cell not in visible(name)]
        assert all(cell.metadata.get("jupyter", {}).get("source_hidden") for cell in hidden)

    def test_no_output_is_an_object_without_words(self, name):
        data = [output.get("data", {}) for cell in code(name) for output in cell.outputs]
        assert [one for one in data if not "".join(one.get("text/markdown", "said"))] == []

    def test_results_are_not_typed(self, name):
        assert [match for text in markdown(name) for match in RESULT.findall(text)] == []

    def test_no_sentence_has_more_than_five_numbers(self, name):
        assert [s for text in said(name) for s in sentences(text) if len(numbers(s)) > 5] == []

    def test_every_mention_of_another_chapter_is_a_link_that_leads_there(self, name):
        others = [title(source).split(":")[0] for source in chapters() if source.stem != name]
        for text in said(name):
            plain = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)|^#.*$", "", text, flags=re.MULTILINE)
            assert [other for other in others if other in plain] == []
            for target in re.findall(r"\]\(([^)#:]+)\)", text):
                assert target.endswith((".ipynb", ".jpg")) and (BOOK / target).exists(), target

    def test_figures_are_sharp_and_say_what_they_show(self, name):
        for cell in code(name):
            assert not shown(cell, "image/png") or shown(cell, "image/svg+xml")
            if shown(cell, "image/svg+xml"):
                assert cell.metadata.get("mystnb", {}).get("image", {}).get("alt"), cell.source

    def test_tables_have_one_header_row_and_one_interval_a_row(self, name):
        for table in [html for cell in code(name) for html in shown(cell, "text/html") if "<table" in html]:
            rows = Rows(table)
            assert rows.headers <= 1, table[:300]
            if name != "three_or_hundred":  # the chapter on intervals
                assert max(len(INTERVAL.findall(text)) for text in rows.texts) <= 1, table[:300]
            assert not re.search(r"(?<![\d.])-0(?![.\d])", " ".join(rows.texts)), "negative zero"


class Rows(HTMLParser):
    """The texts of a table's rows, and how many of them are header rows."""

    def __init__(self, html: str):
        super().__init__()
        self.texts, self.headers, self._head = [], 0, False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._head = tag == "thead" or (self._head and tag != "tbody")
        if tag == "tr":
            self.texts.append("")
            self.headers += self._head

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += f" {data.strip()}"
