"""What *What to buy instead* says, out of `frontier.within_margin` (`bought`) and `frontier.frontier` by suite."""

from collections.abc import Callable, Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers.second_seed import NO_REUSE, SecondSeed
from kvlab.evidence import control_steps, margins, summary, wording
from kvlab.evidence.frontier import cheapest
from kvlab.evidence.rows import successes
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

FIRST = (  # what the start page and *Decide for your own policy* compare
    "none steps=5", "none steps=2", "none steps=1", "none execute=7", "none execute=10", "none execute=16",
    "none steps=2 execute=10", "none steps=1 execute=10", "none steps=2 execute=16",
    "chunk when every(2)", "chunk when settled <= 0.025", "prefix when every(2)", "prefix when vision >= 0.945",
    "prefix when vision >= 0.98", "full when every(2)", "full when vision >= 0.98",
)  # fmt: skip
LEVERS = (  # what this chapter does
    *FIRST, "none steps=3", "none execute=3", "none execute=13", "none execute=settled(0.03)",
    "full when vision >= 0.985", "full when vision >= 0.98 & state >= 0.98", "prefix when every(2) steps=2 execute=10",
    "chunk when distance <= 1.5", "chunk when verify <= 0.12", "chunk when verify <= 0.2",
    "full when vision >= 0.99", "chunk when every(2) & gripper < 1",
)  # fmt: skip


def headline(bought: pd.DataFrame, margin: float) -> str:
    """The title of the figure: the cheapest setting whose loss is inside the margin."""
    setting = recommended(bought)
    if setting is None:
        return f"No lever is shown to save inference and to lose under {100 * margin:.0f} points"
    share = bought.loc[setting, _costs(bought)[0]]
    return (
        f"Cheapest within {100 * margin:.0f} points: {tables.lever(setting)}, at {text.percent(share)} of the inference"
    )


def findings(
    bought: pd.DataFrame,
    places: Mapping[str, pd.DataFrame],
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
    margin: float,
    confidence: float,
) -> list[str]:
    """The chapter's answer. `machines` as in `frontier.within_margin`."""
    reuse = _reusing(bought)
    said = [recommendation(bought, records, machines, second, margin)]
    if len(reuse):
        said.append(_reuse(reuse, records, machines, second, margin))
    return [*said, _frontier(places), *_longer(recommended(bought), records, confidence)]


def recommended(bought: pd.DataFrame) -> Setting | None:
    """The cheapest setting inside the margin in every suite that costs less than no reuse; None if there is none."""
    return cheapest(bought[bought[_costs(bought)[0]] < 1])


def named(bought: pd.DataFrame) -> list[Setting]:
    """The settings that the findings name, and no reuse."""
    reuse = _reusing(bought)
    taken = (recommended(bought), recommended(reuse), *_alone(reuse).values())
    return [NO_REUSE, *(setting for setting in taken if setting)]


def recommendation(
    bought: pd.DataFrame,
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
    margin: float,
) -> str:
    """What to take, in the words that every page with a recommendation has, and whether a second seed confirms it."""
    setting = recommended(bought)
    if setting is None:
        return f"**No lever is shown to be worth it.** {_none(records, margin)}"
    return f"**Take {tables.lever(setting)}.** {_best(setting, bought, records, machines, second, margin)}"


def unexplained(setting: Setting, changes: Mapping[str, Interval]) -> str:
    """Where fewer denoising steps are shown to solve more: where the book looks for the reason."""
    more = [f"`{suite}`" for suite, change in changes.items() if change.low > 0]
    if not more or not setting.denoising_steps:
        return ""
    return (
        f" Why it solves more in {text.listed(more)} is open ([what was tested](buy_instead.ipynb)). A larger policy "
        "may lose: test yours."
    )


def table(bought: pd.DataFrame, machines: Mapping[str, Latency], margin: float) -> pd.DataFrame:
    """`bought` for readers, one row a setting; the intervals of its points stand in `losses`."""
    columns = {}
    for suite in _suites(bought):
        found = zip(bought[suite, "difference"], bought[suite, "loss"], strict=True)
        columns[suite] = [f"{100 * lost.estimate:z.0f}: {margins.word(verdict, margin)}" for lost, verdict in found]
    columns |= {machine: bought[machine, "of_control"].map("{:.0%}".format) for machine in machines}
    return _readable(pd.DataFrame(columns, bought.index).drop(NO_REUSE).rename(index=tables.lever))


def losses(
    places: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, confidence: float
) -> pd.DataFrame:
    """The paired difference of every setting of a suite, suite by suite, and what it says of the margin."""

    def row(suite: str, setting: Setting) -> dict[str, str]:
        lost = summary.difference(records[suite], setting, NO_REUSE, confidence)
        return {"points": wording.points(lost, margin), "loss": margins.word(margins.loss(lost, margin), margin)}

    return _by_suite(places, row)


def steps_table(places: Mapping[str, pd.DataFrame], records: Mapping[str, Records], confidence: float) -> pd.DataFrame:
    """Control steps to success over no reuse's, and the chance to be on the frontier, suite by suite."""

    def row(suite: str, setting: Setting) -> dict[str, str]:
        ratio = control_steps.steps_ratio(records[suite], setting, NO_REUSE, confidence)
        return {"control steps": wording.ratio(ratio), "unbeaten": f"{places[suite].chance[setting]:.0%}"}

    return _by_suite(places, row)


def _by_suite(places: Mapping[str, pd.DataFrame], row: Callable[[str, Setting], dict[str, str]]) -> pd.DataFrame:
    """One row per setting of each suite, the cheapest first."""
    which = [(suite, setting) for suite, place in places.items() for setting in place.index if setting != NO_REUSE]
    rows = [{"suite": suite, **row(suite, setting)} for suite, setting in which]
    return _readable(pd.DataFrame(rows, [tables.lever(setting) for _, setting in which]))


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename_axis(index=None, columns="setting")


def _costs(bought: pd.DataFrame) -> list[tuple[str, str]]:
    return [column for column in bought.columns if column[1] == "of_control"]


def _reusing(bought: pd.DataFrame) -> pd.DataFrame:
    return bought[[setting.mode != "none" for setting in bought.index]]


def _alone(bought: pd.DataFrame) -> dict[str, Setting]:
    """For each suite by itself the cheapest setting that saves inference and is inside the margin; those that exist."""
    saving = bought[bought[_costs(bought)[0]] < 1]
    inside = {suite: saving.index[saving[suite, "loss"] == margins.INSIDE] for suite in _suites(bought)}
    return {suite: settings[0] for suite, settings in inside.items() if len(settings)}


def _suites(bought: pd.DataFrame) -> list[str]:
    return [suite for suite, column in bought.columns if column == "loss"]


def _none(records: Mapping[str, Records], margin: float) -> str:
    return (
        f"None that is listed here and saves inference has a loss that is shown to be under {100 * margin:.0f} points "
        f"in {'every suite' if len(records) > 1 else 'the suite'}."
    )


def _reuse(
    reuse: pd.DataFrame,
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
    margin: float,
) -> str:
    """The cheapest setting that reuses, or what of it holds in one suite alone."""
    if setting := recommended(reuse):
        said = _best(setting, reuse, records, machines, second, margin, "that reuse ")
        return f"**If you reuse: {tables.lever(setting)}.** {said}"
    told = [
        f"In `{suite}` by itself the cheapest that has is: {tables.lever(setting)}."
        for suite, setting in _alone(reuse).items()
    ]
    return " ".join(["**No setting that reuses is shown to be worth it.**", _none(records, margin), *told])


def _best(setting, bought, records, machines, second, margin, among="") -> str:
    costs = [f"{text.percent(bought.loc[setting, (key, 'of_control')])} ({one.name})" for key, one in machines.items()]
    changes = {suite: bought.loc[setting, (suite, "difference")] for suite in records}
    losses = [
        f"In `{suite}` {margins.loss_words(change, margin)}: {text.difference(change, 'without reuse', margin)}, "
        f"{text.count(len(successes(records[suite], setting)), 'episode')}."
        for suite, change in changes.items()
    ]
    return (
        f"Of the settings listed here {among}it is the cheapest that is shown to lose under {100 * margin:.0f} points"
        f"{' in every suite' * (len(records) > 1)}. A control step takes {text.listed(costs)} of the inference without "
        f"reuse. {' '.join(losses)} A choice among many favours the lucky. {second.clause(setting)}"
        f"{unexplained(setting, changes)}"
    )


def _frontier(places: Mapping[str, pd.DataFrame]) -> str:
    best = {suite: list(place.index[place.pareto]) for suite, place in places.items()}
    reusing = any(setting.mode != "none" for settings in best.values() for setting in settings)
    lead = "Settings that reuse are among the unbeaten" if reusing else "Every setting that reuses is beaten"
    said = [f"In `{suite}`: {'; '.join(map(tables.lever, settings))}." for suite, settings in best.items()]
    return f"**{lead}.** No other setting beats these in both cost and success. {' '.join(said)}"


def _longer(setting: Setting | None, records: Mapping[str, Records], confidence: float) -> list[str]:
    """Control steps to success of the cheapest setting, where there is one."""
    if setting is None:
        return []
    ratios = {suite: control_steps.steps_ratio(rows, setting, NO_REUSE, confidence) for suite, rows in records.items()}
    known = {suite: ratio for suite, ratio in ratios.items() if ratio}
    if not known:
        return []
    grown = [suite for suite, ratio in known.items() if ratio.low > 1]
    lead = "It takes longer to succeed" if grown else "It is not shown to take longer"
    said = [f"In `{suite}` the ratio is {wording.ratio(ratio)}." for suite, ratio in known.items()]
    return [
        f"**{lead}.** How many times as many control steps does an episode that both solve take with "
        f"{tables.lever(setting)} as without reuse? {' '.join(said)}"
    ]
