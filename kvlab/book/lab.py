"""JupyterLab on the book: chapters open as they are and are saved as they are published.

`make lab` names `Chapters` in book/_lab/config.json. What a kernel says of itself differs between machines: put into a
notebook when it starts, it would mark every chapter as unsaved, and change its file when it is saved.
"""

import nbformat
from ipykernel.ipkernel import IPythonKernel
from jupytext import TextFileContentsManager
from nbformat import NotebookNode

from kvlab.book.execution import clean, fold


class Chapters(TextFileContentsManager):
    """Notebooks and their texts as one document, with what this machine's kernel says of itself while they are open."""

    def get(self, path: str, content: bool = True, *others, **named) -> dict:
        """A file's model, as the base class gives it; the text knows which cells are folded only by their tags."""
        model = super().get(path, content, *others, **named)
        if content and model["type"] == "notebook":
            fold(model["content"]).metadata["language_info"] = dict(IPythonKernel.language_info)
        return model

    def save(self, model: dict, path: str = "") -> dict:
        """Writes a file's model, as the base class does."""
        if model["type"] == "notebook":
            model = {**model, "content": clean(nbformat.from_dict(model["content"]))}
        return super().save(model, path)

    def mark_trusted_cells(self, nb: NotebookNode, path: str = "") -> None:
        """Chapters are the repository's own: JupyterLab draws no SVG of others."""
        self.notary.mark_cells(nb, True)
