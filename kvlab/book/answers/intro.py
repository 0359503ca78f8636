"""What the start page says, out of the records of each suite."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import text
from kvlab.book.answers import buy_instead
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import margins
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

ANSWERS = {  # what the page says of reuse, each where it is recorded; how it did, its rows say
    "full when every(2)": "Keeping everything at every second replan",
    "prefix when every(2)": "Keeping images and instruction but not the robot state at every second replan",
    "chunk when every(2)": "Going on in the old chunk at every second replan",
}


def findings(
    bought: pd.DataFrame, records: Mapping[str, Records], machines: Mapping[str, Latency], second: SecondSeed
) -> list[str]:
    """What to take, and one finding for each of ANSWERS that is in `bought` (`frontier.within_margin`)."""
    told = {parse_setting(text): name for text, name in ANSWERS.items()}
    return [
        buy_instead.recommendation(bought, records, machines, second, margins.BUY),
        *(_told(setting, name, bought, records) for setting, name in told.items() if setting in bought.index),
    ]


def named(bought: pd.DataFrame) -> list[Setting]:
    """The settings that the findings name, and no reuse."""
    taken = buy_instead.recommended(bought)
    return [buy_instead.NO_REUSE, *([taken] if taken else []), *map(parse_setting, ANSWERS)]


def _told(setting: Setting, name: str, bought: pd.DataFrame, records: Mapping[str, Records]) -> str:
    changes = {suite: bought.loc[setting, (suite, "difference")] for suite in records}
    said = [
        f"`{suite}`: {int((solved := successes(records[suite], setting)).sum())} of "
        f"{text.count(len(solved), 'episode')}, {text.difference(change, 'without reuse')}."
        for suite, change in changes.items()
    ]
    return f"**{name}{_loss(changes)}.** {' '.join(said)}"


def _loss(changes: Mapping[str, Interval]) -> str:
    """What all suites together say of a loss of `margins.BUY`, after the name of a setting."""
    points = f"{100 * margins.BUY:.0f}"
    found = {suite: margins.loss(change, margins.BUY) for suite, change in changes.items()}
    if all(one == margins.INSIDE for one in found.values()):
        return f" loses under {points} points"
    if lost := [suite for suite, one in found.items() if one == margins.OUTSIDE]:
        return f" loses over {points} points{_where(lost, found)}"
    if shown := [suite for suite, change in changes.items() if change.high < 0]:
        return f" loses success{_where(shown, found)}; whether over {points} points is open"
    return f": whether it loses over {points} points is open"


def _where(some: list[str], all_: Mapping[str, str]) -> str:
    return "" if len(some) == len(all_) else f" in {text.listed([f'`{suite}`' for suite in some])}"
