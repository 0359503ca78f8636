"""What *Baseline sweep* says, out of each suite's records and `summary.compare` of them (no reuse in each)."""

from collections.abc import Mapping, Sequence
from math import inf

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import cost, margins, summary, survival, wording
from kvlab.evidence.stats import Interval
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
SAVES = "[What it saves](saves.ipynb)"


def findings(
    compared: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, times: Latency
) -> list[str]:
    """The chapter's answer, by suite. `margin` is the loss of success that matters, in (0, 1)."""
    said = [_within(suite, table, margin) for suite, table in compared.items()]
    return [*said, _often(compared), _time(compared, records, margin, times)]


def headline(compared: Mapping[str, pd.DataFrame]) -> str:
    """The title of the figure: the share of replans from which on every threshold is shown to lose."""
    falls = {suite: share for suite, table in compared.items() if (share := _falls_from(table)) is not None}
    if not falls:
        return "No loss of success is shown to last as reuse grows"
    (first, share), *others = falls.items()
    each = [
        f"{text.percent(share)} of replans on in {first}",
        *(f"{text.percent(s)} in {suite}" for suite, s in others),
    ]
    return f"Where everything is reused, fewer episodes succeed from {text.listed(each)}"


def _falls_from(table: pd.DataFrame) -> float | None:
    """The least share of replans above which every threshold is shown to lose; None where the loosest is not."""
    swept = table.drop(NO_REUSE).astype({"reuse": float}).sort_values("reuse", ascending=False)
    lost = swept.difference.map(lambda one: one.high < 0).cummin()
    return swept.reuse[lost].min() if lost.any() else None


def halves(records: Mapping[str, Records], settings: Sequence[Setting], confidence: float) -> str:
    """At which share of replans that reuse half of the success is lost, suite by suite."""
    said = []
    for suite, rows in records.items():
        if not summary.successes(rows, NO_REUSE).any():
            said.append(f"In `{suite}` no episode succeeds without reuse, so there is nothing to lose.")
            continue
        half = survival.half(rows, settings, NO_REUSE, confidence)["rate"]
        if half.estimate == inf:
            said.append(f"In `{suite}` no threshold loses half of the success without reuse.")
            continue
        high = "more than recorded" if half.high == inf else f"{100 * half.high:.0f}"
        ends = (
            f" ({100 * half.low:.0f} to {high})" if half.low < half.high else ""
        )  # few episodes resample to one value
        said.append(
            f"In `{suite}` half of the success without reuse is lost where {text.percent(half.estimate)} of replans "
            f"reuse{ends}."
        )
    return " ".join(said)


def loosest(table: pd.DataFrame, margin: float) -> Setting | None:
    """Of the settings whose loss is inside `margin`, the one that reuses most; None if none is."""
    inside = [a for a, d in table.drop(NO_REUSE).difference.items() if margins.loss(d, margin) == margins.INSIDE]
    return _most(table.loc[inside]) if inside else None


def _most(table: pd.DataFrame) -> Setting:
    return table.drop(NO_REUSE, errors="ignore").reuse.astype(float).idxmax()


def _within(suite: str, table: pd.DataFrame, margin: float) -> str:
    """At which shares of replans the loss is shown to be under `margin`, and what is shown at the others."""
    points, swept = f"{100 * margin:g}", table.drop(NO_REUSE).astype({"reuse": float})
    judged = swept.difference.map(lambda one: margins.word(one, margin))
    at = {
        word: text.listed([f"{100 * share:.0f}" for share in sorted(some)])
        for word, some in swept.reuse.groupby(judged)
    }
    words = {"open": "open", "loses": "shown, but its size open,", f"over {points}": f"over {points} points"}
    others = "; ".join(f"{said} at {at[word]} %" for word, said in words.items() if word in at)
    others = f"The loss is {others}. " if others else ""
    setting, which = loosest(table, margin), "loosest threshold of which this is shown"
    lead = "reuse at none of the shares tried here is shown to lose under"
    if setting is not None:
        lead = f"reuse at {at[f'under {points}']} % of replans is shown to lose, if anything, under"
    elif "open" in at:
        setting, which = _most(swept[judged == "open"]), "loosest threshold of which it is open"
    else:
        setting, which = swept.reuse.idxmin(), "strictest threshold"
    return (
        f"**`{suite}`: {lead} {points} points.** {others}The {which} is "
        f"{tables.gate(setting)}: {table.k[setting]} of {text.count(table.n[setting], 'episode')} succeed, "
        f"{text.difference(table.difference[setting], 'without reuse', margin)}."
    )


def _often(compared: Mapping[str, pd.DataFrame]) -> str:
    """What the loosest threshold of each suite costs."""
    costs, said = {}, []
    for suite, table in compared.items():
        setting = _most(table)
        difference = table.difference[setting]
        costs.setdefault(_cost(difference, table.k[NO_REUSE] / table.n[NO_REUSE]), []).append(f"`{suite}`")
        said.append(
            f"In `{suite}`, at {text.percent(table.reuse[setting])} of replans ({tables.gate(setting)}), "
            f"{table.k[setting]} of {text.count(table.n[setting], 'episode')} succeed: "
            f"{text.difference(difference, 'without reuse')}."
        )
    lost = [f"{cost} in {text.listed(suites)}" for cost, suites in costs.items()]
    lead = f"Frequent reuse costs {next(iter(costs)) if len(costs) == 1 else text.listed(lost)}"
    return f"**{lead}.** {' '.join(said)}"


def _cost(difference: Interval, no_reuse: float) -> str:
    """How much of the success without reuse is lost, in words."""
    if difference.high >= 0:
        return "nothing that is shown"
    lost = -difference.estimate / no_reuse
    return "nearly everything" if lost >= 0.9 else "most of the success" if lost >= 0.5 else "part of the success"


def _usable(table: pd.DataFrame, margin: float) -> Setting:
    """The `loosest`; else, of those not shown to lose over `margin`, or else of all, the one that reuses most."""
    left = [s for s, d in table.drop(NO_REUSE).difference.items() if margins.loss(d, margin) != margins.OUTSIDE]
    return loosest(table, margin) or _most(table.loc[left] if left else table)


def _time(compared: Mapping[str, pd.DataFrame], records: Mapping[str, Records], margin: float, times: Latency) -> str:
    """What the `_usable` threshold of each suite saves, per control step and over episodes that both solve."""
    said, ratios = [], {}
    for suite, table in compared.items():
        setting = _usable(table, margin)
        step = cost.savings(records[suite], [setting], NO_REUSE, times).of_control[setting]
        ratios[suite] = ratio = cost.inference_ratio(records[suite], setting, NO_REUSE, times)
        solved = (
            f"an episode that both solve {wording.of_100(ratio)}"
            if ratio
            else "and no episode is solved both with and without reuse"
        )
        said.append(
            f"In `{suite}` with {tables.gate(setting)} a control step takes {text.percent(step)} of the inference "
            f"without reuse, {solved}."
        )
    return f"**{_saves(ratios)}.** {' '.join(said)} These are times of {times.name}; more in {SAVES}."


def _saves(ratios: Mapping[str, Interval | None]) -> str:
    """Where reuse is shown to save inference over whole episodes, and where longer ones are shown to undo it."""
    saves, undoes = (
        [f"`{suite}`" for suite, one in ratios.items() if one and test(one)]
        for test in (lambda one: one.high < 1, lambda one: one.low > 1)
    )
    told = [f"Reuse saves inference in {text.listed(saves)}"] if saves else []
    told += [f"longer episodes undo the saving in {text.listed(undoes)}"] if undoes else []
    if not told:
        return "That reuse saves inference over an episode is not shown"
    said = "; ".join(told)
    return said[0].upper() + said[1:]
