"""What the start page says, out of the records of each suite."""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import recommended, trained_again, trainings
from kvlab.book.answers.second_seed import NO_REUSE, Choice, SecondSeed
from kvlab.evidence import margins
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.summary import difference
from kvlab.evidence.wording import points
from kvlab.paths import CHECKPOINTS, DATA
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
    many = {suite: len(successes(rows, NO_REUSE)) for suite, rows in records.items()}
    each = [f"{text.count(n, 'episode')} of `{suite}`" for suite, n in many.items()]
    if len(many) > 1 and len({*many.values()}) == 1:
        each = [f"{text.count(next(iter(many.values())), 'episode')} of each suite"]
    return f"Points are of success, compared with it on the same {text.listed(each)}, with 95 % intervals."


def findings(
    bought: pd.DataFrame, records: Mapping[str, Records], machines: Mapping[str, Latency], second: SecondSeed
) -> list[str]:
    """What to take, and one finding for each of ANSWERS that is in `bought` (`frontier.within_margin`)."""
    told, choice = (
        {parse_setting(text): name for text, name in ANSWERS.items()},
        recommended.recommended(bought, second),
    )
    taken = _taken(choice, bought, records, machines, second) if choice else recommended.nothing(records, margins.BUY)
    reuse = [_told(setting, name, bought, records) for setting, name in told.items() if setting in bought.index]
    return [taken, *reuse]


def lettered(bought: pd.DataFrame, places: Mapping[str, pd.DataFrame], second: SecondSeed) -> pd.DataFrame:
    """Of `bought` the settings that have a letter in the figure: the `named`, and what no other beats in a suite."""
    unbeaten = {setting for place in places.values() for setting in place.index[place.pareto]}
    return bought[[setting in unbeaten.union(named(bought, second)) for setting in bought.index]]


def named(bought: pd.DataFrame, second: SecondSeed) -> list[Setting]:
    """No reuse, the settings that the findings name, and what reuses and is shown to lose under the margin."""
    choice = recommended.recommended(bought, second)
    taken = [one.setting for one in choice.all] if choice else []
    reuse = [setting for setting in bought.index if setting.mode != "none" and bought.loc[setting, ("all", "inside")]]
    return list(dict.fromkeys([NO_REUSE, *taken, *map(parse_setting, ANSWERS), *reuse]))


def _taken(
    choice: Choice,
    bought: pd.DataFrame,
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
) -> str:
    """`recommended.recommendation`, with what it costs in its title; what is cheaper costs says the table."""
    costs = recommended.costs(bought, choice.taken.setting, {key: key for key in machines})
    why = recommended.recommendation(choice, records, second, lambda setting: "")
    return f"**{choice.taken.advice}: {costs} of the inference.** {why}"


def _told(setting: Setting, name: str, bought: pd.DataFrame, records: Mapping[str, Records]) -> str:
    changes = {suite: bought.loc[setting, (suite, "difference")] for suite in records}
    said = [f"`{suite}` {points(change, margins.BUY)}" for suite, change in changes.items()]
    return f"**{name}{_loss(changes)}.** {'; '.join(said)}.{_behind(setting, records)}"


def _behind(setting: Setting, records: Mapping[str, Records]) -> str:
    """What the image gate of BEHIND loses, suite by suite, where it is recorded in every one."""
    gate = parse_setting(BEHIND[str(setting)]) if str(setting) in BEHIND else None
    if gate is None or not all(gate in recorded(rows) for rows in records.values()):
        return ""
    lost = [
        f"`{suite}` {points(difference(rows, gate, NO_REUSE), margins.BUY)} at {text.percent(reuse_share(rows, gate))}"
        for suite, rows in records.items()
    ]
    return f" Behind {tables.gate(gate)}: {'; '.join(lost)} of replans."


def trained() -> str:
    """How many of the recorded trainings went past their lowest held-out loss, after what they are."""
    curves = {}
    for suite, first in CHECKPOINTS.items():
        found = {
            name: trainings.held_out(DATA / "checkpoints" / name) for name in (first.name, *trained_again.AGAIN[suite])
        }
        curves[suite] = {name: losses for name, losses in found.items() if len(losses)}
    return trainings.headline(curves)


def _loss(changes: Mapping[str, Interval]) -> str:
    """What all suites together say of a loss of `margins.BUY`, after the name of a setting."""
    most = f"{100 * margins.BUY:.0f}"
    found = {suite: margins.loss(change, margins.BUY) for suite, change in changes.items()}
    if all(one == margins.INSIDE for one in found.values()):
        return f" loses under {most} points, if any"
    if lost := [suite for suite, one in found.items() if one == margins.OUTSIDE]:
        return f" loses over {most} points{_where(lost, found)}"
    if shown := [suite for suite, change in changes.items() if change.high < 0]:
        return f" loses success{_where(shown, found)}; whether over {most} points is open"
    return f": whether it loses over {most} points is open"


def _where(some: list[str], all_: Mapping[str, str]) -> str:
    return "" if len(some) == len(all_) else f" in {text.listed([f'`{suite}`' for suite in some])}"
