"""The explorer: everything that is recorded in one picture. Live in JupyterLab; in a page without what needs a kernel.

One module of JavaScript, `explorer.js`, draws both. What it shows is computed in `recorded`; `live` runs episodes.
"""

from IPython import get_ipython
from IPython.display import HTML

from kvlab.book.explorer.live import Explorer
from kvlab.book.explorer.recorded import page, shown


def show(suite: str, setting: str) -> Explorer | HTML:
    """The explorer, with the recorded `setting` of `suite` chosen: the last line of a cell.

    Live where a person's front end runs the cell; a page where papermill, nbval or nbconvert does, since a widget is
    nothing without its kernel. ParameterError: a suite or a setting that is not recorded; says what there is.
    """
    return Explorer(suite, setting) if _a_person_is_there() else HTML(page(shown(suite, setting)))


def _a_person_is_there() -> bool:
    """Front ends say with each cell whether they can ask a person for input; what runs notebooks in batch cannot."""
    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and kernel.get_parent()["content"].get("allow_stdin", False)
