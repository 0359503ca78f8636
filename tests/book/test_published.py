"""What nbval does not see in the published notebooks: that they ran, in order, from the text beside them."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

from kvlab.lab.book import chapters, differences
from kvlab.lab.paths import BOOK

NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))


@cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(path: Path) -> list:
    return [cell for cell in read(path).cells if cell.cell_type == "code" and cell.source.strip()]


def kinds(cell) -> set[str]:
    """The MIME types that a cell put out."""
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def test_the_table_of_contents_names_every_notebook_and_no_other():
    assert sorted(source.with_suffix(".ipynb") for source in chapters()) == NOTEBOOKS
    assert all(source.exists() for source in chapters())


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

    def test_shows_no_widget(self, path):
        assert "widgets" not in read(path).metadata
        assert not [cell.source for cell in code(path) if any("widget" in kind for kind in kinds(cell))]

    def test_shows_no_path_of_the_machine_that_ran_it(self, path):
        shown = nbformat.writes(nbformat.v4.new_notebook(cells=code(path)))
        assert re.findall(r"(?:/home/|/Users/|/root/|/tmp/|\.venv/|site-packages/|[A-Z]:\\\\)[^\s\"]*", shown) == []
        assert str(BOOK.parent) + "/" not in shown

    def test_shows_the_numbers_of_a_figure_as_text(self, path):
        """nbval lets a changed picture pass, so each is drawn from a table that is shown before it or with it."""
        tables = 0
        for cell in code(path):
            tables += "text/html" in kinds(cell)
            if "image/png" in kinds(cell):
                assert tables, cell.source
                tables = 0
