"""The table of contents, `_toc.yml`: which chapters there are, in which order and parts.

Apart from `kvlab.book.execution`, which executes them: a chapter that lists the others needs no papermill.
"""

import re
from pathlib import Path

import yaml

from kvlab.paths import ROOT

TOC = ROOT / "_toc.yml"


def parts(toc: Path = TOC) -> dict[str, list[Path]]:
    """The notebooks of each part of `toc`, in its order; the start page has the part ''."""
    contents = yaml.safe_load(toc.read_text())
    listed = {part["caption"]: [page["file"] for page in part["chapters"]] for part in contents["parts"]}
    return {part: [toc.parent / name for name in names] for part, names in {"": [contents["root"]], **listed}.items()}


def chapters(toc: Path = TOC) -> list[Path]:
    """The text sources of all notebooks in `toc`, in its order."""
    return [notebook.with_suffix(".md") for notebooks in parts(toc).values() for notebook in notebooks]


def title(source: Path) -> str:
    """The first heading of a chapter's text. ValueError: it has none."""
    if not (found := re.search(r"^# (.+)$", source.read_text(), re.MULTILINE)):
        raise ValueError(f"{source.name} has no title; a chapter starts with one, `# Title`")
    return found[1]
