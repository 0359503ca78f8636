"""The book's chapters: reads their text, executes them side by side, cleans what is published.

A chapter is `book/<name>.md` (MyST text, the source) and `book/<name>.ipynb` (the same cells with outputs, published).
The only place that knows jupytext and papermill. `python -m kvlab.book.execution [NAME ...]` executes chapters, all
those of the table of contents by default, into `_build/report`, from where the HTML is made: nothing that is published
changes. With `--publish` the notebooks in book/ and the figures in figures/ are made anew.
"""

import argparse
import hashlib
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm
from traitlets.config import Config

from kvlab.book.contents import chapters
from kvlab.paths import BOOK, FIGURES, ROOT
from kvlab.sim.workers import end_with_the_first

# What a running kernel says of itself differs between machines (Python's patch version), so it is fixed here.
_KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
_LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
REPORT = ROOT / "_build" / "report"


def read_source(source: Path) -> NotebookNode:
    """The notebook that `source` (MyST text) describes, without outputs.

    Cell ids come from the cells' text, so that the same text gives the same file.

    Raises:
        ValueError: the text does not exist or names no kernel.
    """
    if not source.exists():
        raise ValueError(f"no chapter {source.name} in {source.parent}; a chapter's source is book/<name>.md")
    notebook = jupytext.read(source, fmt="md:myst")
    if "kernelspec" not in notebook.metadata:
        raise ValueError(f"{source.name} names no kernel; a chapter's header has kernelspec: name: python3")
    notebook.nbformat_minor = 5
    notebook.metadata = NotebookNode(
        jupytext={"default_lexer": "ipython3"}, kernelspec=_KERNEL, language_info=_LANGUAGE
    )
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, -1) + 1
        cell.id = f"{digest}-{seen[digest]}"
    return fold(notebook)


def fold(notebook: NotebookNode) -> NotebookNode:
    """`notebook` with those cells folded whose source is not on the page (tag `remove-input`). Works in place."""
    for cell in notebook.cells:
        if "remove-input" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}
    return notebook


def execute(source: Path, out: Path | None = None, parameters: dict | None = None, bar: bool = True) -> Path:
    """Executes the chapter `source` (MyST text) in book/ and returns the notebook's path, `out` (default: beside it).

    Written aside and moved to its place when it is complete: a failing run leaves the old notebook as it was. With
    `bar` a progress bar counts its cells.

    Raises:
        ValueError: no such chapter, or a cell failed; says which and where the partial notebook is.
    """
    out = out or source.with_suffix(".ipynb")
    aside = ROOT / "_build" / "notebooks" / out.name
    for folder in (aside.parent, out.parent):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory() as sockets:  # of its own: kernels that start at once could take the same port
            notebook = papermill.execute_notebook(
                read_source(source),
                aside,
                parameters,
                cwd=BOOK,
                progress_bar=bar and {"desc": source.stem},
                stderr_file=sys.stderr,
                config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}),
                extra_arguments=["--log-level=ERROR"],  # a kernel warns when it ends with an interrupted process
            )
    except PapermillExecutionError as error:
        raise ValueError(
            f"{source.name}: code cell {error.exec_count} failed with {error.ename}: {error.evalue} (the notebook "
            f"until there: {aside}; {out.name} is as it was)"
        ) from None
    nbformat.write(clean(notebook), aside)
    os.replace(aside, out)
    return out


def publish(source: Path, bar: bool = True) -> Path:
    """`execute`, beside the source; the figures that the chapter shows become files of figures/."""
    out = execute(source, bar=bar)
    for name, svg in figures(nbformat.read(out, as_version=4)).items():
        FIGURES.mkdir(exist_ok=True)
        (FIGURES / f"{name}.svg").write_text(svg)
    return out


def figures(notebook: NotebookNode) -> dict[str, str]:
    """The figures that `kvlab.book.plots.show` showed in `notebook`: SVG by name."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return {
        output.metadata["kvlab_figure"]: output.data["image/svg+xml"]
        for output in outputs
        if "kvlab_figure" in output.get("metadata", {})
    }


def report(source: Path, bar: bool = True) -> Path:
    """`execute`, into the folder that the HTML is made from."""
    return execute(source, REPORT / "book" / source.with_suffix(".ipynb").name, bar=bar)


def lay_out() -> None:
    """All that a page of the HTML needs besides the chapters, put where `report` puts these."""
    shutil.rmtree(REPORT, ignore_errors=True)
    shutil.copytree(BOOK / "_static", REPORT / "book" / "_static")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, REPORT)


def execute_all(sources: list[Path], jobs: int, how: Callable[..., Path] = execute) -> None:
    """Executes chapters, `jobs` at a time, each in a process of its own: papermill changes the folder it is in.

    `how` is `execute`, `publish` or `report`. The first that fails raises its ValueError here when those that run
    beside it are finished; the rest is dropped.
    """
    if jobs == 1 or len(sources) == 1:
        for source in sources:
            how(source)
        return
    fork = multiprocessing.get_context("fork")  # what is imported here, seconds of it, is there in every process
    with ProcessPoolExecutor(jobs, fork, end_with_the_first) as pool:
        running = [pool.submit(how, source, bar=False) for source in sources]
        bar = tqdm(as_completed(running), total=len(running), desc="chapters", unit="chapter")
        try:
            for done in bar:
                bar.set_postfix_str(done.result().stem)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def clean(notebook: NotebookNode) -> NotebookNode:
    """`notebook` without what differs from run to run: execution metadata, times, progress bars, and without views of
    widgets, which nothing stands behind once the kernel has ended. Works in place."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata["language_info"] = _LANGUAGE
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = _settled(cell.outputs)
    return notebook


def _settled(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """`outputs` with one stream of a kind (its pieces come as they like), without the lines of progress bars."""
    kept, streams = [], {}
    for output in outputs:
        output.get("data", {}).pop(WIDGET_VIEW, None)
        if output.output_type == "stream" and output.name in streams:
            streams[output.name].text += output.text
            continue
        if output.output_type == "stream":
            streams[output.name] = output
        kept.append(output)
    for stream in streams.values():
        stream.text = "\n".join(line for line in stream.text.split("\n") if "\r" not in line)
    return [output for output in kept if output.output_type != "stream" or output.text.strip()]


def differences(source: Path, published: Path) -> list[str]:
    """What of the text `source` is not so in the notebook `published`, as sentences; empty if they are in step."""
    text, notebook = read_source(source).cells, nbformat.read(published, as_version=4).cells
    if len(text) != len(notebook):
        return [f"{source.name} has {len(text)} cells and {published.name} {len(notebook)}"]
    return [
        f"cell {number} of {published.name} is not what {source.name} says"
        for number, (a, b) in enumerate(zip(text, notebook, strict=True))
        if (a.id, a.cell_type, a.source, a.metadata) != (b.id, b.cell_type, b.source, b.metadata)
    ]


def main(names: list[str], jobs: int = 1, published: bool = False) -> None:
    """Executes the chapters `names` (all of the table of contents if empty), or exits with one sentence."""
    try:
        if not published:
            lay_out()
        execute_all([BOOK / f"{name}.md" for name in names] or chapters(), jobs, publish if published else report)
    except ValueError as error:
        sys.exit(f"kvlab: {error}")
    except BrokenProcessPool:
        sys.exit("kvlab: a process was killed; the chapters that were running are as they were, those before are new")
    except KeyboardInterrupt:
        sys.exit("kvlab: interrupted; the chapters that were running are as they were, those before them are new")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Executes chapters of the book.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of book/NAME.md; all chapters if none is given")
    parser.add_argument("--jobs", type=int, default=1, help="chapters that are executed at a time (default: 1)")
    parser.add_argument(
        "--publish", action="store_true", dest="published", help="make book/NAME.ipynb and its figures anew"
    )
    main(**vars(parser.parse_args()))
