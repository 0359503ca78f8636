"""What *What to buy instead* says, out of `frontier.within_margin` (`bought`) and `frontier.frontier` by suite."""

from collections.abc import Callable, Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.answers import recommended
from kvlab.book.answers.second_seed import NO_REUSE, Choice, SecondSeed
from kvlab.evidence import control_steps, margins, summary, wording
from kvlab.evidence.cost import inference_ratio
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

LEVERS = (  # what this chapter does
    *recommended.FIRST, "none steps=3", "none execute=3", "none execute=13", "none execute=settled(0.03)",
    "full when vision >= 0.985", "full when vision >= 0.98 & state >= 0.98", "prefix when every(2) steps=2 execute=10",
    "chunk when distance <= 1.5", "chunk when verify <= 0.12", "chunk when verify <= 0.2",
    "full when vision >= 0.99", "chunk when every(2) & gripper < 1",
)  # fmt: skip


def headline(bought: pd.DataFrame, choice: Choice | None, margin: float) -> str:
    """The title of the figure: what is recommended, and at what cost."""
    points = f"{100 * margin:.0f} points"
    if choice is None:
        return f"No lever is shown to save inference and to lose under {points}"
    setting, seeds = choice.taken.setting, " by two seeds" if choice.confirmed else ""
    share = text.percent(bought.loc[setting, _costs(bought)[0]])
    return f"Cheapest within {points}{seeds}: {tables.lever(setting)}, at {share} of the inference"


def findings(
    bought: pd.DataFrame,
    places: Mapping[str, pd.DataFrame],
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
) -> list[str]:
    """The chapter's answer, by the margin and the confidence of `second`; `machines` as in `within_margin`."""
    reuse, choice = _reusing(bought), recommended.recommended(bought, second)
    said = [_taken(choice, bought, records, machines, second)]
    if len(reuse):
        said.append(_reuse(reuse, records, machines, second))
    return [*said, _frontier(places), *_longer(choice, records, second.confidence)]


def named(bought: pd.DataFrame, second: SecondSeed) -> list[Setting]:
    """The settings that the findings name, and no reuse."""
    reuse = _reusing(bought)
    choices = [recommended.recommended(some, second) for some in (bought, reuse)]
    taken = [again.setting for choice in choices if choice for again in choice.all]
    alone = () if choices[-1] else _alone(reuse).values()
    return list(dict.fromkeys([NO_REUSE, *taken, *alone]))


def _taken(
    choice: Choice | None,
    bought: pd.DataFrame,
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
) -> str:
    """What to take, at what cost, and how sure that is."""
    if choice is None:
        return recommended.nothing(records, second.margin)
    said = _costs_and_why(choice, bought, records, machines, second)
    return f"**{choice.taken.advice}.** {said} {recommended.CAUTION}"


def _costs_and_why(
    choice: Choice,
    bought: pd.DataFrame,
    records: Mapping[str, Records],
    machines: Mapping[str, Latency],
    second: SecondSeed,
    among: str = "",
) -> str:
    names = {key: one.name for key, one in machines.items()}

    def costs(setting: Setting) -> str:
        return recommended.costs(bought, setting, names)

    return (
        f"A control step takes {costs(choice.taken.setting)} of the inference of no reuse. "
        f"{recommended.recommendation(choice, records, second, costs, among)}"
    )


def table(
    bought: pd.DataFrame, records: Mapping[str, Records], machines: Mapping[str, Latency], margin: float
) -> pd.DataFrame:
    """`bought` for readers, one row a setting; the intervals of its points stand in `losses`.

    The last column is of an episode that both solve, by the first machine; empty where a suite has too few.
    """
    columns = {}
    for suite in _suites(bought):
        found = bought[suite, "difference"]
        columns[suite] = [f"{100 * lost.estimate:z.0f}: {margins.word(lost, margin)}" for lost in found]
    columns |= {machine: bought[machine, "of_control"].map("{:.0%}".format) for machine in machines}
    (name, first), *_ = machines.items()
    columns[f"episode, {name}"] = [_episode(setting, records, first) for setting in bought.index]
    return _readable(pd.DataFrame(columns, bought.index).drop(NO_REUSE).rename(index=tables.lever))


def _episode(setting: Setting, records: Mapping[str, Records], times: Latency) -> str:
    ratios = [inference_ratio(rows, setting, NO_REUSE, times) for rows in records.values()]
    return f"{sum(one.estimate for one in ratios) / len(ratios):.0%}" if all(ratios) else ""


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


def _reuse(
    reuse: pd.DataFrame, records: Mapping[str, Records], machines: Mapping[str, Latency], second: SecondSeed
) -> str:
    """What to take of what reuses; where nothing is, what one suite alone would."""
    choice = recommended.recommended(reuse, second)
    if choice is None:
        told = [
            f"In `{suite}` by itself the cheapest that has is: {tables.lever(one)}."
            for suite, one in _alone(reuse).items()
        ]
        lead = "**No setting that reuses is shown to be worth it.**"
        return " ".join([lead, recommended.none_shown(records, second.margin), *told])
    taken = choice.taken
    open_ = not choice.confirmed and taken.verdict != margins.OUTSIDE
    advice = f"the candidate is {tables.lever(taken.setting)}" if open_ else taken.advice[0].lower() + taken.advice[1:]
    lead = f"**If you reuse: {advice}.**"
    said = _costs_and_why(choice, reuse, records, machines, second, "that reuse ")
    episodes = _whole_episodes(taken.setting, records, machines, second.confidence)
    return " ".join(filter(None, [lead, said, episodes]))


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
    return f"An episode that both solve takes {'; '.join(told)} of the inference ({first.name}){saves}."


def _percent(ratio: Interval) -> str:
    return f"{100 * ratio.estimate:.0f} % ({100 * ratio.low:.0f} to {100 * ratio.high:.0f})"


def _frontier(places: Mapping[str, pd.DataFrame]) -> str:
    best = {suite: list(place.index[place.pareto]) for suite, place in places.items()}
    reusing = any(setting.mode != "none" for settings in best.values() for setting in settings)
    lead = "Settings that reuse are among the unbeaten" if reusing else "Every setting that reuses is beaten"
    suites = {}
    for suite, settings in best.items():
        suites.setdefault("; ".join(map(tables.lever, settings)), []).append(f"`{suite}`")
    said = [
        f"In {text.listed(some)} these are unbeaten without training: {settings}." for settings, some in suites.items()
    ]
    beaten = "." if reusing else " by one at least as cheap and as good, and better in one of these."
    return f"**{lead}**{beaten} {' '.join(said)}"


def _longer(choice: Choice | None, records: Mapping[str, Records], confidence: float) -> list[str]:
    """Control steps to success of what is recommended, where anything is."""
    if choice is None:
        return []
    setting = choice.taken.setting
    ratios = {suite: control_steps.steps_ratio(rows, setting, NO_REUSE, confidence) for suite, rows in records.items()}
    known = {suite: ratio for suite, ratio in ratios.items() if ratio}
    if not known:
        return []
    grown = [suite for suite, ratio in known.items() if ratio.low > 1]
    lead = "Episodes are shown to take longer" if grown else "Episodes are not shown to take longer"
    said = "; ".join(f"{wording.ratio(ratio)} times in `{suite}`" for suite, ratio in known.items())
    return [
        f"**{lead} with {tables.lever(setting)}.** An episode that both solve takes the control steps of no reuse "
        f"{said}."
    ]
