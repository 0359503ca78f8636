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
from kvlab.study.clock import parse_clock
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
    for (suite, study), ms in product(studies.items(), speeds):
        still, on = (_outcomes(study, settings, world) for world in (f"{ms:g}ms hold", f"{ms:g}ms"))
        for setting, won in still.items():
            row = {"setting": tables.lever(setting), "suite": suite, "inference, ms": f"{ms:g}"}
            row |= {"stands still": _solved(won), "goes on": "", "points": ""}
            if setting in on:
                lost = paired_difference(pair(won, on[setting]), confidence)
                row |= {"goes on": _solved(on[setting]), "points": wording.points(lost)}
            found.append(row)
    if not found:
        return text.say("No such episode is recorded in full.")
    return pd.DataFrame(found).set_index("setting").rename_axis(index=None, columns="setting")


def _outcomes(study: Study, settings: Sequence[Setting], world: str) -> dict[Setting, pd.Series]:
    """Success by episode in that world, of the settings that are recorded in full; of the others a chunk may not cover
    the delay.
    """
    clock, chunk = parse_clock(world), study.policy.config.chunk
    if not (covered := tuple(setting for setting in settings if clock.covered(setting, chunk))):
        return {}
    there = replace(study, settings=covered, protocol=replace(study.protocol, real_time=world))
    missing = there.plan()["missing"]
    if not (full := tuple(setting for setting in there.settings if not missing[str(setting)])):
        return {}
    records = replace(there, settings=full).run(1)
    return {setting: successes(records, setting) for setting in full}


def _solved(won: pd.Series) -> str:
    return f"{int(won.sum())} of {len(won)}"
