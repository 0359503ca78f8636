"""*Try this*: a setting of the reader's own on a few episodes, beside no reuse, in under a minute."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
from IPython.display import Markdown

from kvlab.book import text
from kvlab.evidence import summary
from kvlab.evidence.stats import rate_interval
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study

TRIED = "tried"  # the name of every folder of tries


def attempt(study: Study, setting: str, episodes: int = 3, workers: int = 2) -> Markdown:
    """Runs `setting` (as `full when vision >= 0.96`) and no reuse on the first episodes of `study`; says how it went.

    What was tried before is read. ValueError as in `parse_setting` and `Study`.
    """
    tried = Setting("none"), parse_setting(setting)
    few = replace(study, settings=tuple(dict.fromkeys(tried)), episodes=episodes, folder=tried_beside(study.folder))
    return text.say(said(summary.compare(few.run(workers), few.settings, Setting("none")), tried[1]))


def tried_beside(folder: Path) -> Path:
    """Where tries are kept: apart from what the chapters count in `folder`, and from tries beside other rows."""
    return folder.parent / TRIED if folder.name == "runs" else folder / TRIED


def said(compared: pd.DataFrame, setting: Setting) -> str:
    """The sentence about `setting`, out of `summary.compare`."""
    k, n, reuse = int(compared.k[setting]), int(compared.n[setting]), compared.reuse[setting]
    interval = rate_interval(k, n)
    return (
        f"**`{setting}`: {k} of {text.count(n, 'episode')}** succeeded, with {text.percent(reuse)} of replans reused; "
        f"without reuse {compared.k[Setting('none')]} did. After {text.count(n, 'episode')} the true rate may be "
        f"anything from {text.percent(interval.low)} to {text.percent(interval.high)} (95 %)."
    )
