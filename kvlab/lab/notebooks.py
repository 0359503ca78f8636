"""Chapters: reads their text, executes them, cleans what is published; what their cells call.

A chapter is `book/<name>.md` (MyST text, the source) and `book/<name>.ipynb` (the same cells with outputs, published).
The only place that knows jupytext and papermill. `python -m kvlab.lab.notebooks [NAME ...]` executes chapters, all
those of the table of contents by default.
"""

import ast
import hashlib
import os
import sys
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import papermill
import yaml
from myst_nb import glue
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from pydantic import TypeAdapter, ValidationError

from kvlab.lab.paths import BOOK, ROOT

# What a running kernel adds to a notebook differs between machines (Python's patch version), so it is fixed here.
_LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}


class ParameterError(ValueError):
    """A notebook parameter that does not exist or has the wrong type; shown in a notebook as its one sentence."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return [f"{type(self).__name__}: {self}"]


def chapters(toc: Path = ROOT / "_toc.yml") -> list[Path]:
    """The text sources of the notebook chapters in `toc`, in its order.

    Notebooks are listed there with their `.ipynb` ending, plain pages without one.
    """
    contents = yaml.safe_load(toc.read_text())
    listed = [entry["file"] for entry in contents.get("chapters", [])]
    return [(toc.parent / name).with_suffix(".md") for name in [contents["root"], *listed] if name.endswith(".ipynb")]


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
        jupytext={"default_lexer": "ipython3"}, kernelspec=notebook.metadata.kernelspec, language_info=_LANGUAGE
    )
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, -1) + 1
        cell.id = f"{digest}-{seen[digest]}"
    return notebook


def execute(source: Path, out: Path | None = None, parameters: dict | None = None) -> Path:
    """Executes the chapter `source` (MyST text) in book/ and returns the notebook's path, `out` (default: beside it).

    Written aside and moved to its place when it is complete: a failing run leaves the old notebook as it was.

    Raises:
        ValueError: no such chapter, or a cell failed; says which and where the partial notebook is.
    """
    out = out or source.with_suffix(".ipynb")
    aside = ROOT / "_build" / "notebooks" / out.name
    aside.parent.mkdir(parents=True, exist_ok=True)
    try:
        notebook = papermill.execute_notebook(
            read_source(source),
            aside,
            parameters,
            cwd=BOOK,
            progress_bar={"desc": source.stem},
            stderr_file=sys.stderr,
            extra_arguments=["--log-level=ERROR"],  # the kernel warns of its loopback sockets each time
        )
    except PapermillExecutionError as error:
        raise ValueError(
            f"{source.name}: code cell {error.exec_count} failed with {error.ename}: {error.evalue} (the notebook "
            f"until there: {aside}; {out.name} is as it was)"
        ) from None
    nbformat.write(clean(notebook), aside)
    os.replace(aside, out)
    return out


def clean(notebook: NotebookNode) -> NotebookNode:
    """`notebook` without what differs from run to run: execution metadata, times, progress bars. Works in place."""
    notebook.metadata.pop("papermill", None)
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


def check_parameters(namespace: dict) -> tuple[str, ...]:
    """Checks a notebook's parameters: `check_parameters(globals())` in the cell after the one tagged `parameters`.

    The parameters are the annotated names, `episodes: int = 3`. A text given for something else is read as YAML and put
    into `namespace`, since `papermill -p thresholds "[0.985]"` passes a text.

    Returns:
        the names that papermill set, none in JupyterLab: a chapter saves its figures only then.

    Raises:
        ParameterError: an unknown name or a wrong type; says what there is.
    """
    declared = namespace.get("__annotations__", {})
    given = _injected(namespace.get("In", []))
    known = ", ".join(f"{name} ({_name(kind)})" for name, kind in declared.items())
    for name in given:
        if name not in declared:
            raise ParameterError(f"unknown parameter {name!r}; this notebook has {known or 'none'}")
    for name, kind in declared.items():
        namespace[name] = _as_declared(name, kind, namespace[name])
    return given


def _injected(cells: list[str]) -> tuple[str, ...]:
    """The names assigned in the cell that papermill put in, which starts with the comment `# Parameters`."""
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            return tuple(node.targets[0].id for node in ast.parse(cell).body if isinstance(node, ast.Assign))
    return ()


def _as_declared(name: str, kind: object, value: object) -> object:
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
    if isinstance(value, str):
        try:
            return adapter.validate_python(yaml.safe_load(value), strict=True)
        except (ValidationError, yaml.YAMLError):
            pass  # the message about the text as given says more
    raise ParameterError(f"parameter {name!r} must be {_name(kind)}, got {value!r} ({type(value).__name__}): {reason}")


def _name(kind: object) -> str:
    return kind.__name__ if type(kind) is type else str(kind)


def note(**values: object) -> None:
    """Makes `values` available to the text of a chapter, which formats them: {glue:text}`name:.1f`.

    Scalars of numpy become Python's own, since the book could not format them, and fractions keep 6 significant digits,
    since later ones differ between processors.
    """
    for name, value in values.items():
        value = value.item() if isinstance(value, np.generic) else value
        glue(name, float(f"{value:.6g}") if isinstance(value, float) else value, display=False)


def main(names: list[str]) -> None:
    """Executes the chapters `names` (all of the table of contents if empty), or exits with one sentence."""
    try:
        for source in [BOOK / f"{name}.md" for name in names] or chapters():
            execute(source)
    except ValueError as error:
        sys.exit(f"kvlab: {error}")
    except KeyboardInterrupt:
        sys.exit("kvlab: interrupted; the chapter that was running is as it was, those before it are new")


if __name__ == "__main__":
    main(sys.argv[1:])
