"""What nbval does not see in the published notebooks: that they ran, in order, from the text beside them."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from kvlab.book.contents import chapters
from kvlab.book.execution import differences, figures
from kvlab.paths import BOOK, FIGURES

NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
# Absolute, of two parts or more; neither an address, a closing tag, a division nor base64.
MACHINES_PATH = re.compile(r"(?<![\w.:/<+*)\]}])/\w[\w.-]*/[^\s\"'<]+|\.venv/\S*|site-packages/\S*|\b[A-Z]:\\\S*")


@cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]


def kinds(cell) -> set[str]:
    """The MIME types that a cell put out."""
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def texts(cell) -> list[str]:
    """A cell's source and all that it put out as text."""
    shown = [text for o in cell.outputs for kind, text in o.get("data", {}).items() if kind.startswith("text/")]
    return [cell.source, *shown, *(o.text for o in cell.outputs if o.output_type == "stream")]


def test_the_table_of_contents_names_every_notebook_and_no_other():
    assert sorted(source.with_suffix(".ipynb") for source in chapters()) == NOTEBOOKS
    assert all(source.exists() for source in chapters())


def test_a_path_of_the_machine_is_told_from_what_only_looks_like_one():
    for text in (
        "in /srv/here/kvlab",
        "<td>/opt/a/b.py</td>",
        'File "/home/u/x.py"',
        "(/var/x/y)",
        "C:\\here\\x",
        str(BOOK),
    ):
        assert MACHINES_PATH.search(text), text
    for text in (
        "https://a.org/b/c",
        "a / b",
        "x/y/z",
        "</td></tr>",
        "ROOT / folder / name",
        "data/runs/a",
        "+/ab/cd==",
    ):
        assert not MACHINES_PATH.search(text), text


def test_every_figure_is_of_a_chapter_that_shows_it():
    """Those of chapters that save their figures by themselves are named in their text."""
    shown = {name for path in NOTEBOOKS for name in figures(read(path))}
    saved = {
        name
        for path in NOTEBOOKS
        for name in re.findall(r'plots\.save\(fig, "(\w+)"', path.read_text().replace("\\", ""))
    }
    assert {path.stem for path in FIGURES.iterdir()} == shown | saved


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_is_in_step_with_its_text(self, path):
        assert differences(path.with_suffix(".md"), path) == []

    def test_was_executed_once_from_top_to_bottom(self, path):
        assert [cell.execution_count for cell in code(path)] == list(range(1, len(code(path)) + 1))

    def test_has_no_error_and_no_warning(self, path):
        outputs = [output for cell in code(path) for output in cell.outputs]
        assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []

    def test_shows_no_hole_in_a_table(self, path):
        """A column joined by another index is empty, and nothing else would say so."""
        assert [
            cell.source
            for cell in code(path)
            for o in cell.outputs
            if ">NaN<" in o.get("data", {}).get("text/html", "")
        ] == []

    def test_its_figures_are_the_files_that_are_published(self, path):
        for name, svg in figures(read(path)).items():
            assert (FIGURES / f"{name}.svg").read_text() == svg, name

    def test_shows_no_widget(self, path):
        assert "widgets" not in read(path).metadata
        assert not [cell.source for cell in code(path) if any("widget" in kind for kind in kinds(cell))]

    def test_shows_no_path_of_the_machine_that_ran_it(self, path):
        said = [re.sub(r"base64,[\w+/=]+", "", text) for cell in code(path) for text in texts(cell)]  # no pictures
        found = [match for text in said for match in MACHINES_PATH.findall(text)]
        assert found == []

    def test_shows_the_numbers_of_a_figure_as_text(self, path):
        """nbval lets a changed PNG pass, so each is drawn from a table that is shown before it or with it."""
        tables = 0
        for cell in code(path):
            tables += "text/html" in kinds(cell)
            if "image/png" in kinds(cell) and "image/svg+xml" not in kinds(cell):
                assert tables, cell.source
                tables = 0
