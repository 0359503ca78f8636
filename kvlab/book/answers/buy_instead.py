"""What *What to buy instead* says, out of `frontier.within_margin` (`bought`) and `frontier.frontier` by suite."""

from collections.abc import Callable, Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import trained_again
from kvlab.book.answers.second_seed import NO_REUSE, Again, SecondSeed
from kvlab.evidence import control_steps, margins, summary, wording
from kvlab.evidence.cost import inference_ratio
from kvlab.evidence.frontier import cheapest
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
        said.append(_reuse(reuse, records, machines, second, margin, confidence))
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
    """What to take, in the words that every page with a recommendation has, and how sure that is."""
    setting = recommended(bought)
    if setting is None:
        return nothing(records, margin)
    again = second.of(setting)
    return f"**{again.advice}.** {_best(again, bought, records, machines, second, margin)}"


def nothing(records: Mapping[str, Records], margin: float) -> str:
    """What is said where no setting is `recommended`."""
    return f"**No lever is shown to be worth it.** {_none(records, margin)}"


def why(records: Mapping[str, Records], margin: float, among: str = "") -> str:
    """Why a setting was chosen, of those that `among` names (`that reuse `), and the doubt in that."""
    return (
        f"Of the settings listed here {among}it is the cheapest that is shown to lose under {100 * margin:.0f} points"
        f"{' in every suite' * (len(records) > 1)}. A choice among many favours the lucky."
    )


def unexplained(again: Again, changes: Mapping[str, Interval]) -> str:
    """Where fewer denoising steps are shown to solve more: whether both seeds show it, and that the reason is open."""
    gains = again.gains(changes)
    if not gains or not again.setting.denoising_steps:
        return ""
    told = {
        "Why": [f"`{suite}`" for suite, too in gains.items() if too],
        "Whether": [f"`{suite}`" for suite, too in gains.items() if not too],
    }
    said = [f"{word} it solves more in {text.listed(suites)} is open" for word, suites in told.items() if suites]
    return f" {'. '.join(said)} ([what was tested](buy_instead.ipynb)). A larger policy may lose: test yours."


def table(bought: pd.DataFrame, machines: Mapping[str, Latency], margin: float) -> pd.DataFrame:
    """`bought` for readers, one row a setting; the intervals of its points stand in `losses`."""
    columns = {}
    for suite in _suites(bought):
        found = bought[suite, "difference"]
        columns[suite] = [f"{100 * lost.estimate:z.0f}: {margins.word(lost, margin)}" for lost in found]
    columns |= {machine: bought[machine, "of_control"].map("{:.0%}".format) for machine in machines}
    return _readable(pd.DataFrame(columns, bought.index).drop(NO_REUSE).rename(index=tables.lever))


def losses(
    places: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, confidence: float
) -> pd.DataFrame:
    """The paired difference of every setting of a suite, suite by suite, and what it says of the margin."""

    def row(suite: str, setting: Setting) -> dict[str, str]:
        lost = summary.difference(records[suite], setting, NO_REUSE, confidence)
        return {"points": wording.points(lost, margin), "loss": margins.word(lost, margin)}

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
    confidence: float,
) -> str:
    """The cheapest setting that reuses, and what of a cheaper one holds in one suite alone."""
    setting, alone = recommended(reuse), _alone(reuse)
    if setting is None:
        told = [
            f"In `{suite}` by itself the cheapest that has is: {tables.lever(one)}." for suite, one in alone.items()
        ]
        return " ".join(["**No setting that reuses is shown to be worth it.**", _none(records, margin), *told])
    told = [
        f"In `{suite}` alone a cheaper one is shown to as well: {tables.lever(one)}."
        for suite, one in alone.items()
        if one != setting
    ]
    again = second.of(setting)
    lead = f"**If you reuse: {again.advice[0].lower()}{again.advice[1:]}.**"
    said = _best(again, reuse, records, machines, second, margin, "that reuse ")
    return " ".join(filter(None, [lead, said, _whole_episodes(setting, records, machines, confidence), *told]))


def _whole_episodes(
    setting: Setting, records: Mapping[str, Records], machines: Mapping[str, Latency], confidence: float
) -> str:
    """What the setting saves over an episode that both solve, by the first machine; nothing where too few are."""
    first = next(iter(machines.values()))
    ratios = {suite: inference_ratio(rows, setting, NO_REUSE, first, confidence) for suite, rows in records.items()}
    told = [f"{_percent(ratio)} in `{suite}`" for suite, ratio in ratios.items() if ratio]
    if not told:
        return ""
    nothing = [f"`{suite}`" for suite, ratio in ratios.items() if ratio and ratio.high >= 1]
    saves = f"; so in {text.listed(nothing)} no saving is shown" if nothing else ""
    return f"Of the inference to solve an episode that both do ({first.name}), it takes {'; '.join(told)}{saves}."


def _percent(ratio: Interval) -> str:
    return f"{100 * ratio.estimate:.0f} % ({100 * ratio.low:.0f} to {100 * ratio.high:.0f})"


def _best(
    again: Again,
    bought: pd.DataFrame,
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
    margin: float,
    among: str = "",
) -> str:
    """Why a setting was chosen, how sure that is, what it costs, and how it did with both seeds and trained again."""
    costs = [
        f"{text.percent(bought.loc[again.setting, (key, 'of_control')])} ({one.name})" for key, one in machines.items()
    ]
    changes = {suite: bought.loc[again.setting, (suite, "difference")] for suite in records}
    return (
        f"{why(records, margin, among)} {again.clause} {again.effects(records)} A control step takes "
        f"{text.listed(costs)} of the inference without reuse. "
        f"{trained_again.clause(second.studies, again.setting, margin, second.confidence)}{unexplained(again, changes)}"
    ).strip()


def _frontier(places: Mapping[str, pd.DataFrame]) -> str:
    best = {suite: list(place.index[place.pareto]) for suite, place in places.items()}
    reusing = any(setting.mode != "none" for settings in best.values() for setting in settings)
    lead = "Settings that reuse are among the unbeaten" if reusing else "Every setting that reuses is beaten"
    suites = {}
    for suite, settings in best.items():
        suites.setdefault("; ".join(map(tables.lever, settings)), []).append(f"`{suite}`")
    said = [f"In {text.listed(some)} these are unbeaten: {settings}." for settings, some in suites.items()]
    beaten = "A setting is beaten where another is at least as cheap and as good, and better in one of these."
    return f"**{lead}.** {beaten} {' '.join(said)}"


def _longer(setting: Setting | None, records: Mapping[str, Records], confidence: float) -> list[str]:
    """Control steps to success of the cheapest setting, where there is one."""
    if setting is None:
        return []
    ratios = {suite: control_steps.steps_ratio(rows, setting, NO_REUSE, confidence) for suite, rows in records.items()}
    known = {suite: ratio for suite, ratio in ratios.items() if ratio}
    if not known:
        return []
    grown = [suite for suite, ratio in known.items() if ratio.low > 1]
    lead = "Episodes are shown to take longer" if grown else "Episodes are not shown to take longer"
    said = [f"In `{suite}` the ratio is {wording.ratio(ratio)}." for suite, ratio in known.items()]
    return [
        f"**{lead} with {tables.lever(setting)}.** How many times as many control steps does an episode that both "
        f"solve take as without reuse? {' '.join(said)}"
    ]
