"""The book as pages, and a browser that looks at them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser
from kvlab.paths import ROOT


@pytest.fixture(scope="session")
def html(tmp_path_factory) -> Path:
    """The folder of the book's pages, built from the published notebooks as `make report` builds it."""
    out = tmp_path_factory.mktemp("site")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", ROOT, "--path-output", out, "--all", "-W", "-n", "--keep-going", "-q"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return out / "_build" / "html"


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()
