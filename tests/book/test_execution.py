"""Executing a chapter: what is published is the same each time, and a failure leaves the old notebook."""

import os
import signal
import subprocess
import sys

import nbformat
import pytest

from kvlab.book import execution as book
from kvlab.paths import BOOK, FIGURES
from processes import eventually, runs

HEADER = "---\nkernelspec:\n  name: python3\n  display_name: Python 3\n  language: python\n---\n\n"
CHAPTER = """# A chapter

```{code-cell} ipython3
:tags: [parameters]

episodes: int = 3
thresholds: list[float] = [0.985]
```

```{code-cell} ipython3
from kvlab.book.parameters import check_parameters

given = check_parameters(globals())
```

```{code-cell} ipython3
from tqdm import tqdm

rows = [(threshold, n) for threshold in tqdm(thresholds) for n in range(episodes)]
print(len(rows))
print(rows[0], given)
```
"""
FIGURE = """
```{code-cell} ipython3
import matplotlib.pyplot as plt

plt.plot(rows);
```
"""
SHOWN = """
```{code-cell} ipython3
:tags: [remove-input]

from kvlab.book import plots

fig, ax = plots.page()
ax.plot(rows)
plots.show(fig, "rows")
```
"""
# What JupyterLab's server does when a person opens chapter.ipynb, edits its first cell and saves.
JUPYTERLAB = """
import asyncio
from jupyter_server.serverapp import ServerApp

app = ServerApp()
app.initialize(["--no-browser", "--allow-root", "--port=0", "--ServerApp.root_dir={root}"], new_httpserver=False)

async def edit():
    model = await app.contents_manager.get("chapter.ipynb")
    assert any(cell.get("outputs") for cell in model["content"]["cells"])
    model["content"]["cells"][0]["source"] += " Edited in JupyterLab."
    await app.contents_manager.save(model, "chapter.ipynb")

asyncio.run(edit())
"""


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A small chapter's source in a folder of its own, with what is built there too."""
    monkeypatch.setattr(book, "ROOT", tmp_path)
    monkeypatch.setattr(book, "BOOK", tmp_path)
    source = tmp_path / "chapter.md"
    source.write_text(HEADER + CHAPTER)
    return source


def unexecuted(source):
    """The notebook beside `source`, with its cells and no outputs."""
    notebook = source.with_suffix(".ipynb")
    nbformat.write(book.read_source(source), notebook)
    return notebook


def papermill(notebook, *arguments) -> subprocess.CompletedProcess:
    """Runs papermill as the README says."""
    command = [sys.executable, "-m", "papermill", notebook, notebook.with_name("out.ipynb"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def outputs(path) -> list:
    return [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]


@pytest.fixture
def root(chapter, monkeypatch):
    """What `main` needs of a project around the chapter."""
    folder = chapter.parent
    monkeypatch.setattr(book, "REPORT", folder / "_build" / "report")
    monkeypatch.setattr(book, "FIGURES", folder / "figures")
    (folder / "_static").mkdir()
    for name in ("_config.yml", "_toc.yml"):
        (folder / name).write_text("")
    chapter.write_text(chapter.read_text() + SHOWN)
    return folder


def below(folder) -> dict:
    """Every file there and what is in it, but for what is built."""
    files = [path for path in folder.rglob("*") if path.is_file() and "_build" not in path.parts]
    return {path: path.read_bytes() for path in files}


def test_the_report_changes_nothing_outside_of_what_is_built(root):
    before = below(root)
    book.main(["chapter"])
    assert below(root) == before
    built = root / "_build" / "report"
    assert (built / "_toc.yml").exists() and outputs(built / "book" / "chapter.ipynb")


def test_publishing_writes_the_notebook_and_the_figures_that_it_shows(root):
    book.main(["chapter"], published=True)
    svg = next(o.data["image/svg+xml"] for o in outputs(root / "chapter.ipynb") if "image/svg+xml" in o.get("data", {}))
    assert (root / "figures" / "rows.svg").read_text() == svg


def test_a_cell_without_its_source_on_the_page_is_folded_in_jupyterlab(root):
    cell = book.read_source(root / "chapter.md").cells[-1]
    assert cell.metadata.tags == ["remove-input"] and cell.metadata.jupyter == {"source_hidden": True}


def test_two_executions_give_the_same_bytes(chapter):
    chapter.write_text(chapter.read_text() + FIGURE)
    first = book.execute(chapter).read_bytes()
    assert book.execute(chapter).read_bytes() == first
    text, figure = outputs(chapter.with_suffix(".ipynb"))
    assert text.name == "stdout" and text.text == "3\n(0.985, 0) ()\n"  # and no stderr: the bar is gone
    assert "image/png" in figure.data


def test_a_failing_chapter_leaves_the_published_one_and_says_which_cell(chapter):
    published = unexecuted(chapter).read_bytes()
    chapter.write_text(chapter.read_text().replace("print(rows[0], given)", "raise RuntimeError('no bowl')"))
    with pytest.raises(ValueError, match=r"chapter.md: code cell 3 failed with RuntimeError: no bowl"):
        book.execute(chapter)
    assert chapter.with_suffix(".ipynb").read_bytes() == published


def test_chapters_executed_side_by_side_are_what_each_is_alone(chapter):
    """By the program itself, in a process of its own."""
    names = ["first", "second", "third"]
    sources = [chapter.parent / "book" / f"{name}.md" for name in names]
    sources[0].parent.mkdir()
    for number, source in enumerate(sources):
        source.write_text(chapter.read_text().replace("print(len(rows))", f"print({number})") + FIGURE)
    alone = [book.execute(source).read_bytes() for source in sources]
    for source in sources:
        source.with_suffix(".ipynb").unlink()
    command = [sys.executable, "-m", "kvlab.book.execution", "--publish", "--jobs", "2", *names]
    environment = {**os.environ, "KVLAB_ROOT": str(chapter.parent)}
    environment.pop("TQDM_DISABLE", None)  # what keeps bars out of the published chapters' check, in this process too
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0 and "3/3" in ran.stderr
    assert [source.with_suffix(".ipynb").read_bytes() for source in sources] == alone


def test_of_chapters_side_by_side_the_first_that_fails_is_said_and_later_ones_are_dropped(chapter):
    """The others wait for the failure: how long a kernel takes to start is the machine's affair."""
    failing = "from pathlib import Path; Path('failed').touch(); raise RuntimeError('no bowl')"
    chapter.write_text(chapter.read_text().replace("print(rows[0], given)", failing))
    waiting = "import time\nfrom pathlib import Path\n\nwhile not Path('failed').exists():\n    time.sleep(0.1)"
    others = [chapter.with_name(f"other{number}.md") for number in range(8)]
    for other in others:
        other.write_text(f"{HEADER}```{{code-cell}} ipython3\n{waiting}\ntime.sleep(1)\n```\n")
    with pytest.raises(ValueError, match=r"^chapter.md: code cell 3 failed with RuntimeError: no bowl"):
        book.execute_all([chapter, *others], jobs=2)
    assert not chapter.with_suffix(".ipynb").exists() and not others[-1].with_suffix(".ipynb").exists()


def test_interrupted_chapters_are_as_they_were_and_no_kernel_stays(tmp_path):
    """Ctrl-C, which reaches every process of a terminal; kernels are out of its reach and end with who started them."""
    cell = "import os, time\nfrom pathlib import Path\n\nPath(f'{os.getpid()}.kernel').touch()\ntime.sleep(60)"
    for name in ("first", "second"):
        (tmp_path / "book").mkdir(exist_ok=True)
        (tmp_path / "book" / f"{name}.md").write_text(f"{HEADER}```{{code-cell}} ipython3\n{cell}\n```\n")
    command = [sys.executable, "-m", "kvlab.book.execution", "--publish", "--jobs", "2", "first", "second"]
    environment = {**os.environ, "KVLAB_ROOT": str(tmp_path)}
    ran = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
    )
    kernels = eventually(lambda: len(found := [*tmp_path.glob("book/*.kernel")]) == 2 and found)
    os.killpg(ran.pid, signal.SIGINT)
    said = ran.communicate(timeout=30)[1]
    assert said.splitlines()[-1].startswith("kvlab: interrupted; the chapters that were running are as they were")
    assert "Traceback" not in said
    assert ran.returncode == 1 and not [*tmp_path.glob("book/*.ipynb")]
    assert eventually(lambda: not any(runs(int(kernel.stem)) for kernel in kernels))


def heed_ctrl_c() -> None:
    """A program that is started in the background is told to ignore Ctrl-C, and what it starts inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_text_and_notebook_out_of_step_are_told_apart(chapter):
    published = unexecuted(chapter)
    assert book.differences(chapter, published) == []
    text = chapter.read_text()
    chapter.write_text(text.replace("print(len(rows))", "print(rows)"))
    assert book.differences(chapter, published) == ["cell 3 of chapter.ipynb is not what chapter.md says"]
    chapter.write_text(text.replace(":tags: [parameters]", ":tags: [hide-input]"))
    assert book.differences(chapter, published) == ["cell 1 of chapter.ipynb is not what chapter.md says"]
    chapter.write_text(text + "\n+++\n\nMore.\n")
    assert book.differences(chapter, published) == ["chapter.md has 5 cells and chapter.ipynb 4"]


def test_other_warnings_stay_when_a_progress_bar_goes():
    stream = nbformat.v4.new_output("stream", name="stderr", text="\r 0%\r100%\nUserWarning: look here\n")
    cell = nbformat.v4.new_code_cell(outputs=[stream])
    book.clean(nbformat.v4.new_notebook(cells=[cell]))
    assert [output.text for output in cell.outputs] == ["UserWarning: look here\n"]


def test_a_view_of_a_widget_goes_and_the_page_beside_it_stays():
    output = nbformat.v4.new_output("display_data", {book.WIDGET_VIEW: {"model_id": "1"}, "text/html": "<p>page</p>"})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    notebook.metadata["widgets"] = {}
    book.clean(notebook)
    assert notebook.cells[0].outputs[0].data == {"text/html": "<p>page</p>"} and "widgets" not in notebook.metadata


def test_with_other_parameters_a_chapter_says_what_its_rows_say(tmp_path):
    """In papermill's output, without a change of what is published."""
    published = {path: path.read_bytes() for folder in (BOOK, FIGURES) for path in folder.glob("*.*") if path.is_file()}
    given = {
        "episodes": "20",
        "thresholds": "[0.98, 0.9]",
        "checkpoints": "{libero_spatial: data/checkpoints/mini_spatial}",
    }
    options = [text for name, value in given.items() for text in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", BOOK / "baseline_sweep.ipynb", tmp_path / "out.ipynb", *options]
    ran = subprocess.run([*command, "--cwd", BOOK], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    said = [o.data["text/markdown"] for o in outputs(tmp_path / "out.ipynb") if "text/markdown" in o.get("data", {})]
    assert said[0].startswith("The study has 80 episodes; all are recorded")
    claims = said[1].splitlines()
    assert len(claims) == 3 and claims[0].startswith("1. **`libero_spatial`") and "of 20 episodes succeed" in claims[0]
    assert {path: path.read_bytes() for path in published} == published


def test_papermill_sets_parameters_from_the_command_line(chapter):
    ran = papermill(unexecuted(chapter), "-p", "episodes", "2", "-p", "thresholds", "[0.98, 0.97]")
    assert ran.returncode == 0, ran.stderr
    text = next(output for output in outputs(chapter.with_name("out.ipynb")) if output.get("name") == "stdout")
    assert text.text == "4\n(0.98, 0) ('episodes', 'thresholds')\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-p", "episode", "2"), "ParameterError: unknown parameter 'episode'; this notebook has episodes (int)"),
        (("-p", "thresholds", "high"), "ParameterError: parameter 'thresholds' must be list[float], got 'high' (str)"),
    ],
)
def test_papermill_with_a_wrong_parameter_ends_in_one_sentence(chapter, arguments, sentence):
    ran = papermill(unexecuted(chapter), *arguments)
    assert ran.returncode != 0
    assert ran.stderr.strip().splitlines()[-1].startswith(sentence)


def test_a_chapter_that_does_not_exist_is_one_sentence(chapter, capsys):
    with pytest.raises(SystemExit, match=r"kvlab: no chapter nowhere.md in .*; a chapter's source is book/<name>.md"):
        book.main(["nowhere"], published=True)


def test_a_page_without_a_kernel_is_not_executed(chapter):
    chapter.write_text("# Only text\n")
    with pytest.raises(ValueError, match="chapter.md names no kernel"):
        book.execute(chapter)


def test_jupyterlab_opens_text_and_notebook_as_one_document(chapter):
    """Also when the notebook is the newer file, as it is after `make report`; saving it writes the text."""
    source = book.execute(chapter).with_suffix(".md")
    source.with_name("jupytext.toml").write_text((BOOK / "jupytext.toml").read_text())
    os.utime(source, (0, 0))
    script = JUPYTERLAB.format(root=source.parent)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "Edited in JupyterLab." in source.read_text()
    assert book.differences(source, unexecuted(source)) == []
