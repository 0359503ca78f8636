"""What the start page says, out of the records of each suite."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import buy_instead, trained_again
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import margins
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.summary import difference
from kvlab.evidence.wording import points
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency

ANSWERS = {  # what the page says of reuse, each where it is recorded; how it did, its rows say
    "full when every(2)": "Keeping everything every second replan",
    "prefix when every(2)": "Keeping images and instruction alone every second replan",
    "chunk when every(2)": "Going on in the old chunk every second replan",
}

BEHIND = {"prefix when every(2)": "prefix when vision >= 0.945"}  # an image gate of as much reuse or more


def compared(records: Mapping[str, Records]) -> str:
    """What the points of `findings` are of; the settings of a suite have the same episodes."""
    many = {suite: len(successes(rows, buy_instead.NO_REUSE)) for suite, rows in records.items()}
    each = [f"{text.count(n, 'episode')} of `{suite}`" for suite, n in many.items()]
    if len(many) > 1 and len({*many.values()}) == 1:
        each = [f"{text.count(next(iter(many.values())), 'episode')} of each suite"]
    return f"Points are of success, compared with it on the same {text.listed(each)}."


def findings(bought: pd.DataFrame, records: Mapping[str, Records], second: SecondSeed) -> list[str]:
    """What to take, and one finding for each of ANSWERS that is in `bought` (`frontier.within_margin`)."""
    told = {parse_setting(text): name for text, name in ANSWERS.items()}
    return [
        _recommendation(bought, records, second),
        *(_told(setting, name, bought, records) for setting, name in told.items() if setting in bought.index),
    ]


def lettered(bought: pd.DataFrame, places: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Of `bought` the settings that have a letter in the figure: the `named`, and what no other beats in a suite."""
    unbeaten = {setting for place in places.values() for setting in place.index[place.pareto]}
    return bought[[setting in unbeaten.union(named(bought)) for setting in bought.index]]


def named(bought: pd.DataFrame) -> list[Setting]:
    """No reuse, the settings that the findings name, and all that are shown to lose under the margin in every suite."""
    return [buy_instead.NO_REUSE, *map(parse_setting, ANSWERS), *bought.index[bought["all", "inside"].astype(bool)]]


def untimed(bought: pd.DataFrame, machines: Mapping[str, Latency]) -> str:
    """On which machines times of fewer denoising steps are computed, in a sentence; empty where all were measured."""
    asked = {setting.denoising_steps for setting in bought.index} - {None}
    where = [one.name.split(" on ")[-1] for one in machines.values() if not asked <= {*one.timed_steps}]
    return f"Times of fewer denoising steps on {text.listed(where)} are computed." if where else ""


def _recommendation(bought: pd.DataFrame, records: Mapping[str, Records], second: SecondSeed) -> str:
    """`buy_instead.recommendation` in fewer words: what it costs is the table's, both seeds together that page's."""
    setting = buy_instead.recommended(bought)
    if setting is None:
        return buy_instead.nothing(records, margins.BUY)
    again, changes = second.of(setting), {suite: bought.loc[setting, (suite, "difference")] for suite in records}
    seeds = [f"`{suite}` {'; with the second seed '.join(shown)}" for suite, shown in again.points(records).items()]
    trained = trained_again.clause(second.studies, setting, margins.BUY, second.confidence)
    return (
        f"**{again.advice}.** {buy_instead.why(records, margins.BUY)} {again.clause} Points: {'. '.join(seeds)}. "
        f"{trained}{buy_instead.unexplained(again, changes)}"
    ).strip()


def _told(setting: Setting, name: str, bought: pd.DataFrame, records: Mapping[str, Records]) -> str:
    changes = {suite: bought.loc[setting, (suite, "difference")] for suite in records}
    said = [f"`{suite}` {points(change, margins.BUY)}" for suite, change in changes.items()]
    return f"**{name}{_loss(changes)}.** Points: {'; '.join(said)}.{_behind(setting, records)}"


def _behind(setting: Setting, records: Mapping[str, Records]) -> str:
    """What the image gate of BEHIND loses, suite by suite, where it is recorded in every one."""
    gate = parse_setting(BEHIND[str(setting)]) if str(setting) in BEHIND else None
    if gate is None or not all(gate in recorded(rows) for rows in records.values()):
        return ""
    shares = ", ".join(f"{100 * reuse_share(rows, gate):.0f}" for rows in records.values())
    lost = [points(difference(rows, gate, buy_instead.NO_REUSE), margins.BUY) for rows in records.values()]
    return f" Behind {tables.gate(gate)} ({shares} % of replans): {'; '.join(lost)}."


def _loss(changes: Mapping[str, Interval]) -> str:
    """What all suites together say of a loss of `margins.BUY`, after the name of a setting."""
    most = f"{100 * margins.BUY:.0f}"
    found = {suite: margins.loss(change, margins.BUY) for suite, change in changes.items()}
    if all(one == margins.INSIDE for one in found.values()):
        return f" loses under {most} points"
    if lost := [suite for suite, one in found.items() if one == margins.OUTSIDE]:
        return f" loses over {most} points{_where(lost, found)}"
    if shown := [suite for suite, change in changes.items() if change.high < 0]:
        return f" loses success{_where(shown, found)}; whether over {most} points is open"
    return f": whether it loses over {most} points is open"


def _where(some: list[str], all_: Mapping[str, str]) -> str:
    return "" if len(some) == len(all_) else f" in {text.listed([f'`{suite}`' for suite in some])}"
