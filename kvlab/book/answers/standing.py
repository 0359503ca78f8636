"""What *In real time* says of a robot that stands still during an inference."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pandas as pd
from IPython.display import Markdown

from kvlab.book import tables, text
from kvlab.evidence import wording
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import pair, paired_difference
from kvlab.study.settings import Setting
from kvlab.study.study import Study


def table(
    studies: Mapping[str, Study], settings: Sequence[Setting], speeds: Sequence[float], confidence: float
) -> pd.DataFrame | Markdown:
    """A robot that stands still beside one that goes on in its old chunk, by setting, suite and ms of an inference.

    Of what is recorded in full alone, in a sentence where nothing is. `points` are the paired difference from going on,
    where that is recorded too.
    """
    found = []
    for (suite, study), setting, ms in product(studies.items(), settings, speeds):
        still, on = (_outcomes(study, setting, world) for world in (f"{ms:g}ms hold", f"{ms:g}ms"))
        if still is not None:
            row = {"setting": tables.lever(setting), "suite": suite, "inference, ms": f"{ms:g}"}
            row |= {"stands still": _solved(still), "goes on": "", "points": ""}
            if on is not None:
                lost = paired_difference(pair(still, on), confidence)
                row |= {"goes on": _solved(on), "points": wording.points(lost)}
            found.append(row)
    if not found:
        return text.say("No such episode is recorded in full.")
    return pd.DataFrame(found).set_index("setting").rename_axis(index=None, columns="setting")


def _outcomes(study: Study, setting: Setting, world: str) -> pd.Series | None:
    """Success by episode in that world; None where some are not recorded, or no chunk covers the delay."""
    try:
        one = replace(study, settings=(setting,), protocol=replace(study.protocol, real_time=world))
    except ValueError:  # before any episode runs
        return None
    return None if one.plan()["missing"].any() else successes(one.run(1), one.settings[0])


def _solved(won: pd.Series) -> str:
    return f"{int(won.sum())} of {len(won)}"
