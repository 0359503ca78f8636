"""What *What to buy instead* says of smaller and larger policies, which need training, and of int8, which does not.

Each is compared with the recorded policy of its suite without reuse, on the same episodes. `places` are frontiers by
suite, of `frontier.of_runs`, of a `Lever` each.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from kvlab.bench.precision import FLOATS
from kvlab.book import plots, tables, text
from kvlab.book.answers.precision import Outcomes
from kvlab.book.recorded import in_full
from kvlab.evidence import frontier, margins, rows, wording
from kvlab.evidence.stats import Interval, pair, paired_difference
from kvlab.paths import ROOT
from kvlab.pi0.int8 import PRECISIONS
from kvlab.study.protocol import Protocol
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from kvlab.study.times import Latency

NO_REUSE = Setting("none")
NONE_TRAINED = "no policy of another size was trained there"
SETTINGS = (NO_REUSE, Setting("none", denoising_steps=2), Setting("none", denoising_steps=1))


@dataclass(frozen=True)
class Lever:
    """A setting of a policy, by the name of its folder or its precision."""

    policy: str
    setting: Setting

    def __str__(self) -> str:
        """`mini_spatial_half`, 1 denoising step."""
        return f"`{self.policy}`, {tables.lever(self.setting)}"


@dataclass(frozen=True)
class Suite:
    """One suite: its recorded policy, the rows of that and of the others by policy, and their times."""

    first: str
    records: Mapping[str, Records]
    times: Mapping[str, Latency]

    @property
    def runs(self) -> dict[Lever, tuple[Records, Setting, Latency]]:
        """What is recorded and timed: of the recorded policy every setting of the chapter, of others SETTINGS."""
        return {
            Lever(policy, setting): (found, setting, self.times[policy])
            for policy, found in self.records.items()
            for setting in rows.recorded(found)
            if policy in self.times and (policy == self.first or setting in SETTINGS)
        }

    def lost(self, lever: Lever, confidence: float) -> Interval:
        """Success of a lever minus that of the recorded policy without reuse, on the same episodes (Tango)."""
        mine, first = self.records[lever.policy], self.records[self.first]
        return paired_difference(pair(rows.successes(mine, lever.setting), rows.successes(first, NO_REUSE)), confidence)


def suites(
    records: Mapping[str, Records],
    checkpoints: Mapping[str, str],
    trained: Mapping[str, Sequence[str]],
    int8: Outcomes,
    base: Latency,
    times: Mapping[tuple[str, str], Latency],
    episodes: int,
) -> dict[str, Suite]:
    """By suite: the `records` of its first checkpoint, those of `trained` (paths) that are recorded in full without
    reuse, and int8. `base` are the first ones' times, `times` the others', of `times.of_checkpoints`.
    """
    found = {}
    for suite, mine in records.items():
        first = Path(checkpoints[suite]).name
        others = {
            Path(path).name: _read(Study(ROOT / path, SETTINGS, episodes, Protocol(suite)))
            for path in trained.get(suite, [])
        }
        others |= {name: rounded for (where, name), rounded in int8.items() if where == suite and name != FLOATS}
        timed = {policy: one for (where, policy), one in times.items() if where == suite} | {first: base}
        found[suite] = Suite(first, {first: mine} | {name: one for name, one in others.items() if one}, timed)
    return found


def _read(study: Study) -> Records | None:
    whole = not study.plan()["missing"][str(NO_REUSE)]
    return in_full(study).read() if whole else None


def left_out(found: Mapping[str, Suite], trained: Mapping[str, Sequence[str]]) -> list[str]:
    """Which policies are not recorded in full without reuse, and which have no time; a sentence each."""
    said = []
    for suite, paths in trained.items():
        if suite in found and (absent := [Path(p).name for p in paths if Path(p).name not in found[suite].records]):
            named = text.listed([f"`{policy}`" for policy in absent])
            said.append(f"Left out in `{suite}`, since not all episodes without reuse are recorded: {named}.")
    for suite, one in found.items():
        if untimed := [f"`{policy}`" for policy in one.records if policy not in one.times]:
            said.append(f"Left out in `{suite}`, since no time is measured: {text.listed(untimed)}.")
    return said


def places(found: Mapping[str, Suite], confidence: float) -> dict[str, pd.DataFrame]:
    """The frontier of each suite in which the recorded policy and another one are timed."""
    several = {suite: one for suite, one in found.items() if one.first in {lever.policy for lever in one.runs}}
    return {
        suite: frontier.of_runs(one.runs, confidence)
        for suite, one in several.items()
        if len({lever.policy for lever in one.runs}) > 1
    }


def cheapest(place: pd.DataFrame, suite: Suite, margin: float, confidence: float) -> Lever | None:
    """The cheapest lever whose loss is under the margin."""
    inside = (one for one in place.index if margins.loss(suite.lost(one, confidence), margin) == margins.INSIDE)
    return next(inside, None)


def headline(found: Mapping[str, Suite], places: Mapping[str, pd.DataFrame], margin: float, confidence: float) -> str:
    """The title of the figure."""
    best = {suite: cheapest(place, found[suite], margin, confidence) for suite, place in places.items()}
    paid = {suite: one for suite, one in best.items() if one and one.policy != found[suite].first}
    points = f"{100 * margin:.0f} points"
    if not paid:
        return f"No other size or precision makes it cheaper within {points}"
    said = [f"{one.policy}, {tables.lever(one.setting)}, in {suite}" for suite, one in paid.items()]
    for suite, one in best.items():
        if suite not in paid:
            said.append(f"{tables.lever(one.setting)} of the recorded policy in {suite}" if one else f"none in {suite}")
    return f"Cheapest within {points} by one seed: {'; '.join(said)}"


def said(found: Mapping[str, Suite], places: Mapping[str, pd.DataFrame], margin: float, confidence: float) -> list[str]:
    """What training buys in each suite: the cheapest lever within the margin."""
    if not places:
        return ["No policy of another size or precision is both recorded and timed yet."]
    return [_bought(suite, found[suite], place, margin, confidence) for suite, place in places.items()]


def _bought(suite: str, one: Suite, place: pd.DataFrame, margin: float, confidence: float) -> str:
    points = f"{100 * margin:.0f} points"
    untrained = place[[lever.policy in (one.first, *PRECISIONS) for lever in place.index]]
    best, plain = (cheapest(some, one, margin, confidence) for some in (place, untrained))
    if best is None:
        return f"**In `{suite}` no lever is shown to lose under {points}.**"
    share = {
        lever: place.ms_step[lever].estimate / place.ms_step[Lever(one.first, NO_REUSE)].estimate
        for lever in place.index
    }
    without = (
        f"Without training it is {_named(plain, one)}, at {text.percent(share[plain])}. "
        if plain and best.policy not in PRECISIONS
        else ""
    )
    if best.policy == one.first:
        return (
            f"**In `{suite}` {_dearer({lever.policy for lever in place.index} - {one.first})}.** The cheapest that one "
            f"seed shows to lose under {points} is {tables.lever(best.setting)} of the recorded policy, at "
            f"{text.percent(share[best])} of its inference without reuse."
        )
    lost = text.difference(one.lost(best, confidence), f"with `{one.first}` without reuse", margin)
    needs = "is in lower precision" if best.policy in PRECISIONS else "needs training"
    return (
        f"**In `{suite}` the cheapest within {points} by one seed {needs}: {best}.** A control step takes "
        f"{text.percent(share[best])} of the inference of `{one.first}` without reuse. {without}It solves {lost}."
    )


def _dearer(others: Collection[str]) -> str:
    """That none of the `others` is cheaper: of training, of int8, or of both, as far as a suite has them."""
    rounded, resized = any(one in PRECISIONS for one in others), any(one not in PRECISIONS for one in others)
    if rounded and resized:
        return "neither training nor int8 is shown to make it cheaper"
    what, why = ("training", "") if resized else ("int8", f"; {NONE_TRAINED}")
    return f"{what} is not shown to make it cheaper{why}"


def _named(lever: Lever, one: Suite) -> str:
    return tables.lever(lever.setting) if lever.policy == one.first else str(lever)


def table(
    found: Mapping[str, Suite], places: Mapping[str, pd.DataFrame], margin: float, confidence: float
) -> pd.DataFrame:
    """One row per lever of each suite, the cheapest first: those with SETTINGS, and others that none beats."""
    told = []
    for suite, place in places.items():
        for lever, row in place.iterrows():
            if lever.setting not in SETTINGS and not row.pareto:
                continue
            lost = found[suite].lost(lever, confidence)
            control = lever == Lever(found[suite].first, NO_REUSE)
            told.append(
                {
                    "policy": lever.policy,
                    "suite": suite,
                    "setting": tables.lever(lever.setting),
                    "ms per control step": f"{row.ms_step.estimate:.1f}",
                    "successes, %": f"{100 * row.success.estimate:.0f}",
                    "points": "" if control else wording.points(lost, margin),
                    "loss": "" if control else margins.word(lost, margin),
                    "unbeaten": f"{row.chance:.0%}",
                }
            )
    return pd.DataFrame(told).set_index("policy").rename_axis(index=None, columns="policy")


def figure(found: Mapping[str, Suite], places: Mapping[str, pd.DataFrame]) -> Figure:
    """Success in percent over ms of inference per control step: a panel a suite, a line a policy, over its steps."""
    fig, axes = plots.panels(len(places), 2.4)
    firsts = [found[suite].first for suite in places]
    others = dict.fromkeys(lever.policy for place in places.values() for lever in place.index)
    others = [policy for policy in others if policy not in firsts]
    looks = dict(zip(["first", *others], plots.series(1 + len(others)), strict=True))
    for ax, (suite, place) in zip(axes, places.items(), strict=True):
        for policy in dict.fromkeys(lever.policy for lever in place.index):
            mine = place[[lever.policy == policy and lever.setting in SETTINGS for lever in place.index]]
            x, success = [one.estimate for one in mine.ms_step], list(mine.success)
            y = [100 * one.estimate for one in success]
            ends = [[100 * (one.estimate - one.low), 100 * (one.high - one.estimate)] for one in success]
            look = looks["first" if policy in firsts else policy]
            ax.errorbar(x, y, list(zip(*ends, strict=True)), elinewidth=0.6, linewidth=1, **look)
        ax.set(title=suite, xlabel="inference per control step, ms", ylabel="success, %", xlim=(0, None))
    for policy, look in looks.items():
        label = "the policy of the suite" if policy == "first" else policy
        axes[0].plot([], [], label=label, linewidth=1, **look)
    plots.legend(fig)
    return fig
