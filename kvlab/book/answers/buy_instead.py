"""What *What to buy instead* says, out of `frontier.within_margin` (`bought`) and `frontier.frontier` by suite."""

from collections.abc import Callable, Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import control_steps, margins, summary, wording
from kvlab.evidence.frontier import cheapest
from kvlab.evidence.rows import successes
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")


def headline(bought: pd.DataFrame, margin: float) -> str:
    """The title of the figure: the cheapest setting whose loss is inside the margin."""
    setting = _saver(bought)
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
    margin: float,
    confidence: float,
) -> list[str]:
    """The chapter's answer. `machines` as in `frontier.within_margin`."""
    reuse = bought[[setting.mode != "none" for setting in bought.index]]
    said = [_best(_saver(bought), "lever", bought, records, machines, margin)]
    if len(reuse):
        said.append(_best(_saver(reuse), "setting that reuses", bought, records, machines, margin))
    return [*said, _frontier(places), *_longer(_saver(bought), records, confidence)]


def table(bought: pd.DataFrame, machines: Mapping[str, Latency]) -> pd.DataFrame:
    """`bought` for readers, one row a setting; the intervals of its points stand in `losses`."""
    columns = {f"inference, {machine}": bought[machine, "of_control"].map("{:.0%}".format) for machine in machines}
    for suite in bought.columns.get_level_values(0).difference([*machines, "all"], sort=False):
        columns[f"points, {suite}"] = [f"{100 * lost.estimate:z.0f}" for lost in bought[suite, "difference"]]
        columns[f"loss, {suite}"] = bought[suite, "loss"]
    return _readable(pd.DataFrame(columns).drop(NO_REUSE).rename(index=tables.lever))


def losses(
    places: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, confidence: float
) -> pd.DataFrame:
    """The paired difference of every setting of a suite, suite by suite, and what it says of the margin."""

    def row(suite: str, setting: Setting) -> dict[str, str]:
        lost = summary.difference(records[suite], setting, NO_REUSE, confidence)
        return {"points": wording.percent(lost), "loss": margins.loss(lost, margin)}

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


def _saver(bought: pd.DataFrame) -> Setting | None:
    """The cheapest setting inside the margin in every suite that costs less than no reuse; None if there is none."""
    return cheapest(bought[bought[_costs(bought)[0]] < 1])


def _best(setting, what, bought, records, machines, margin) -> str:
    points = f"{100 * margin:.0f} points"
    if setting is None:
        return (
            f"**No {what} is shown to be worth it.** None that saves inference has a loss that is shown to be under "
            f"{points} in {'every suite' if len(records) > 1 else 'the suite'}."
        )
    costs = [f"{text.percent(bought.loc[setting, (key, 'of_control')])} ({one.name})" for key, one in machines.items()]
    losses = [
        f"In `{suite}` {margins.loss_words(difference, margin)}: "
        f"{text.difference(difference, 'without reuse')}, {text.count(len(successes(rows, setting)), 'episode')}."
        for suite, rows in records.items()
        for difference in [bought.loc[setting, (suite, "difference")]]
    ]
    return (
        f"**The cheapest {what} within {points}: {tables.lever(setting)}.** A control step takes {text.listed(costs)} "
        f"of the inference without reuse. {' '.join(losses)}"
    )


def _frontier(places: Mapping[str, pd.DataFrame]) -> str:
    reusing = {suite: [s for s in place.index[place.pareto] if s.mode != "none"] for suite, place in places.items()}
    lead = (
        "Settings that reuse are among the unbeaten" if any(reusing.values()) else "Every setting that reuses is beaten"
    )
    said = []
    for suite, place in places.items():
        names = [tables.lever(setting) for setting in reusing[suite]]
        unbeaten = "; ".join(map(tables.lever, place.index[place.pareto]))
        said.append(
            f"In `{suite}` no other setting beats these in both cost and success: {unbeaten}. "
            f"{'None of these reuses' if not names else 'Of these reuse: ' + '; '.join(names)}."
        )
    return f"**{lead}.** {' '.join(said)} How sure each place is, the last table says."


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
