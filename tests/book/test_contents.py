"""The table of contents as chapters and commands read it."""

import pytest

from kvlab.book import contents

TOC = """format: jb-book
root: book/intro.ipynb
parts:
  - caption: Answers
    chapters:
      - file: book/one.ipynb
      - file: book/two.ipynb
"""


@pytest.fixture
def toc(tmp_path):
    (tmp_path / "book").mkdir()
    for name, heading in (("intro", "Start"), ("one", "One: more"), ("two", "Two")):
        (tmp_path / "book" / f"{name}.md").write_text(f"---\nkernelspec: x\n---\n\n# {heading}\n\nText.\n")
    (tmp_path / "_toc.yml").write_text(TOC)
    return tmp_path / "_toc.yml"


def test_chapters_come_in_order(toc):
    assert [source.name for source in contents.chapters(toc)] == ["intro.md", "one.md", "two.md"]
    assert list(contents.parts(toc)) == ["", "Answers"]
    assert [contents.title(source) for source in contents.chapters(toc)] == ["Start", "One: more", "Two"]


def test_a_chapter_without_a_title_is_said(toc):
    (source := toc.parent / "book" / "two.md").write_text("Text\n")
    with pytest.raises(ValueError, match="two.md has no title; a chapter starts with one, `# Title`"):
        contents.title(source)
