"""Chapters in JupyterLab, as `make lab` opens it, in a real browser: on a copy, since it may write."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from browser import Browser
from converted import NEW
from kvlab.book.execution import differences
from kvlab.book.lab import Chapters
from kvlab.paths import BOOK, ROOT
from processes import eventually

WIDGET = "[...jupyterapp.shell.widgets('main')].find(w => w.context?.path === '{}.ipynb')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the chapters, and what `make lab` needs beside them."""
    copied = tmp_path_factory.mktemp("lab")
    shutil.copytree(BOOK, copied / "book")
    return copied


@pytest.fixture(scope="module")
def lab(folder) -> Iterator[str]:
    """The address of a JupyterLab on `folder`, set up as `make lab` does and with no setting of this machine's user."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {name: str(folder / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
    ]
    command = [sys.executable, "-m", "jupyterlab", "book", "--config=book/_lab/config.json", *options]
    environment = {**os.environ, **alone, "PYTHONPATH": str(ROOT)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command.append("--LabApp.expose_app_in_browser=True")
    server = subprocess.Popen(command, cwd=folder, env=environment, **quiet)
    address = f"http://127.0.0.1:{port}/lab"

    def answers() -> bool:
        assert server.poll() is None, "JupyterLab ended"
        try:
            return urlopen(address).status == 200
        except URLError:
            return False

    eventually(answers, 120)
    yield address
    server.terminate()
    server.wait()


def opened(browser: Browser, address: str, name: str) -> str:
    """The chapter's model in JavaScript, once its kernel has said what it is: then JupyterLab would change it.

    It is opened alone: JupyterLab restores what was open before, here every chapter of the book."""
    browser.open(f"{address}?reset")
    widget = WIDGET.format(name)
    kernel = f"window.jupyterapp && {widget}?.sessionContext.session?.kernel?.status"
    eventually(lambda: browser.evaluate(kernel) == "idle", 120)
    browser.evaluate("new Promise(done => setTimeout(done, 3000))")
    return f"{widget}.context.model"


def test_the_start_page_opens_first(browser, lab):
    opened(browser, lab.removesuffix("/lab"), "intro")
    assert browser.evaluate("location.pathname") == "/lab/tree/intro.ipynb"
    said = browser.evaluate("document.body.innerText")
    assert "news" not in said and "baseline_sweep.ipynb" in said and "baseline_sweep.md" not in said


@pytest.mark.parametrize("name", NEW)
def test_a_chapter_opens_unchanged_and_reads_like_the_page(browser, lab, name):
    model = opened(browser, f"{lab}/tree/{name}.ipynb", name)
    assert browser.evaluate(f"{model}.dirty") is False
    published = json.loads((BOOK / f"{name}.ipynb").read_text())["cells"]
    cells = browser.evaluate(f"{model}.toJSON().cells")
    folded = [cell["metadata"].get("jupyter", {}).get("source_hidden", False) for cell in cells]
    assert folded == ["remove-input" in cell["metadata"].get("tags", []) for cell in published]
    assert all(cell["metadata"].get("trusted", True) for cell in cells)


def test_a_saved_chapter_is_as_it_was(folder):
    contents = Chapters(root_dir=str(folder / "book"))
    for name in NEW:
        contents.save(contents.get(f"{name}.ipynb"), f"{name}.ipynb")
        saved = folder / "book" / f"{name}.ipynb"
        assert saved.read_bytes() == (BOOK / saved.name).read_bytes()
        assert differences(saved.with_suffix(".md"), BOOK / saved.name) == []


def test_the_explorer_is_live_once_its_cells_are_run(browser, lab):
    opened(browser, f"{lab}/tree/explore.ipynb", "explore")
    assert browser.evaluate("document.querySelectorAll('.kvlab-explorer .hint').length") == 1  # as published
    browser.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => null)")
    field = "document.querySelector('.kvlab-explorer [name={}]')"
    eventually(lambda: browser.evaluate(f"{field.format('run')} !== null"), 120)
    browser.evaluate(f"{field.format('setting')}.value = 'half when vision >= 0.9', {field.format('run')}.click()")
    said = "document.querySelector('.kvlab-explorer .run .said').textContent"
    eventually(lambda: browser.evaluate(said).startswith("Unknown mode 'half': modes are none, full"), 120)
    eventually(lambda: browser.evaluate(f"{field.format('run')}.disabled") is False, 120)
