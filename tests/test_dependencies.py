"""What is declared is used: every dependency once, and imported by the library or the book, or called as a program."""

import re
import tomllib
from collections import Counter
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kvlab.paths import ROOT

PROGRAMS = {"jupyterlab", "jupyter-book", "sphinx-book-theme"}  # of `make` and of the book's configuration

DECLARED = [
    canonicalize_name(Requirement(text).name)
    for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
]


def test_each_is_declared_once():
    assert [name for name, many in Counter(DECLARED).items() if many > 1] == []


def test_each_is_used():
    sources = [path.read_text() for glob in ("kvlab/**/*.py", "book/*.md", "book/*.py") for path in ROOT.glob(glob)]
    imported = {name for text in sources for name in re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE)}
    modules = metadata.packages_distributions()
    used = {canonicalize_name(name) for module in imported for name in modules.get(module, [])}
    assert {*DECLARED} - used == PROGRAMS
