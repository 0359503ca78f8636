"""The book's tables of what `summary.compare` returns: one look in every chapter."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd
from IPython.display import HTML, Markdown, display

from kvlab.evidence.wording import points
from kvlab.study.settings import Setting

KEPT = {
    "none": "nothing",
    "full": "everything",
    "prefix": "images, instruction",
    "vision_only": "images",
    "state_only": "robot state",
    "layer_wise": "half of the layers",
    "text_fixed": "instruction from the start; images",
    "chunk": "chunk",
    "repeat": "chunk from its start",
    "tokens": "image tokens",
}
_WORDS = (
    ("vision", "images"),
    ("pixels", "thumbnails"),
    ("state", "robot state"),
    ("@previous", " of the replan before"),
    (">=", "≥"),
    ("<=", "≤"),
    (" & ", ", "),
)


def kept(setting: Setting) -> str:
    """What a setting keeps, as tables and figures name it: `everything`, `images (splice)`."""
    mode, *notes = re.fullmatch(r"(\w+)(.*?)(?::(\w+))?", setting.mode).groups()
    notes = " ".join(filter(None, notes))
    return KEPT[mode] + (f" ({notes})" if notes else "")


def gate(setting: Setting) -> str:
    """A setting's gate as tables and figures name it: `images ≥ 0.98`; what is seen where nothing is kept."""
    if setting.mode == "none":
        return "no reuse" + ("" if setting.seeing == "live" else f", {_seen(setting.seeing)}")
    text = setting.gate
    for old, new in _WORDS:
        text = text.replace(old, new)
    if adaptive := re.fullmatch(r"(.+ ≥ )(.+) if (.+) else (.+)", text):
        compared, loose, calm, strict = adaptive.groups()
        text = f"{compared}{loose} or {strict} by {', '.join(re.findall('[a-z]+', calm.replace(' and ', ' ')))}"
    return text


def lever(setting: Setting) -> str:
    """A whole setting where levers are compared: `2 denoising steps, executes 10`, `everything kept, every(2)`."""
    steps, executed = setting.denoising_steps, setting.execute
    parts = [
        f"{kept(setting)} kept, {gate(setting)}" if setting.mode != "none" else "",
        f"{steps} denoising step{'s' * (steps > 1)}" if steps else "",
        f"executes {executed}" if executed else "",
    ]
    return ", ".join(filter(None, parts)) or gate(setting)


def _seen(seeing: str) -> str:
    """What the policy is shown: `images late by 2`, in replans, or `cameras black`."""
    if not (late := re.fullmatch(r"late\((\w+), (\d+)\)", seeing)):
        return f"cameras {seeing}"
    return f"{ {'vision': 'images', 'state': 'robot state', 'all': 'both'}[late[1]] } late by {late[2]}"


def by_setting(compared: pd.DataFrame, **columns: pd.Series) -> pd.DataFrame:
    """One row per setting of `summary.compare`: what is kept, gate, reuse, successes, points compared with no reuse.

    `columns` are further ones, by setting. What is kept is left out where all settings that reuse keep the same. The
    one interval is the difference's. The name of the first column stands in the header, not in a row of its own.
    """
    settings = list(compared.index)
    table = pd.DataFrame(
        {
            "kept": [kept(setting) for setting in settings],
            "gate": [gate(setting) for setting in settings],
            "replans that reuse": compared.reuse.map("{:.0%}".format).to_list(),
            "successes": [f"{k} of {n}" for k, n in zip(compared.k, compared.n, strict=True)],
            "points": compared.difference.map(points).to_list(),
            **{name.replace("_", " "): column.reindex(settings).to_list() for name, column in columns.items()},
        }
    )
    first = "kept" if len({setting.mode for setting in settings} - {"none"}) > 1 else "gate"
    table = table if first == "kept" else table.drop(columns="kept")
    return table.set_index(first).rename_axis(index=None, columns=first)


def headed(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """A table of these rows. The first column names them, and its name stands in the one header row; empty of none."""
    frame = pd.DataFrame(rows)
    return frame.set_index(first := frame.columns[0]).rename_axis(index=None, columns=first) if rows else frame


def below(words: str, frame: pd.DataFrame) -> None:
    """Shows a table below the `words` that explain it, and neither where it has no row."""
    if len(frame):
        display(Markdown(words), prose(frame))


def prose(frame: pd.DataFrame) -> HTML:
    """A table whose cells are phrases, which the HTML breaks so that all columns fit the page; nothing is cut short."""
    with pd.option_context("display.max_colwidth", None):
        return HTML(frame.to_html(classes="prose", border=0))
