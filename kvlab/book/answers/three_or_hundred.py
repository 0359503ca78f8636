"""What *3 or 100 episodes* says: of power, of intervals side by side, and of what pilots would have said."""

from collections.abc import Sequence
from math import isfinite

import numpy as np
import pandas as pd

from kvlab.book import text
from kvlab.book.answers import pilot
from kvlab.evidence import margins
from kvlab.evidence.stats import (
    Pairs,
    bootstrap_rate,
    paired_bootstrap,
    rate_interval,
    smallest_drop_paired,
    smallest_drop_unpaired,
)
from kvlab.evidence.stats.coverage import exact_coverage
from kvlab.study.records import Records
from kvlab.study.settings import Setting

ROBOT, SAME, LUCK = "other episodes, as on a robot", "same episodes", "same episodes, 5 % flip by luck"
FLIPS, POWER, ALPHA = 0.05, 0.8, 0.05
NEAR = 0.05  # apart: bounds of intervals that nearly agree
TASKS, ALIKE = 10, 0.3  # of the simulated studies that are told: tasks, and the correlation within one
POOLED = "bootstrap, pooled"
METHODS = {"exact": "clopper_pearson", "Wilson": "wilson", POOLED: "percentile"}
WORDS = {method: name for name, method in METHODS.items()} | {
    "stratified": "bootstrap, within tasks",
    "cluster": "bootstrap, whole tasks",
}


def smallest(sizes: Sequence[int], rate: float) -> pd.DataFrame:
    """The smallest drop from `rate` that a study finds with chance POWER at level ALPHA, in points; by episodes of each
    setting (rows) and design (columns). Infinite where it finds none.
    """
    return pd.DataFrame(
        {
            ROBOT: [100 * smallest_drop_unpaired(n, rate, power=POWER, alpha=ALPHA) for n in sizes],
            LUCK: [100 * smallest_drop_paired(n, FLIPS, POWER, ALPHA) for n in sizes],
            SAME: [100 * smallest_drop_paired(n, 0.0, POWER, ALPHA) for n in sizes],
        },
        index=list(sizes),
    )


def drops(found: pd.DataFrame) -> pd.DataFrame:
    """The table of `smallest`."""
    return found.map(lambda drop: f"{drop:.0f}" if isfinite(drop) else "none").rename_axis(columns="episodes")


def side_by_side(few: int, confidence: float) -> pd.DataFrame:
    """Intervals in percent of every count of successes in `few` episodes; the bootstrap's own, of episodes pooled."""
    rows = {}
    for k in range(few + 1):
        drawn = bootstrap_rate([k], [few], "episodes", confidence=confidence)
        found = {name: rate_interval(k, few, METHODS[name], confidence) for name in ("exact", "Wilson")}
        rows[f"{k} of {few}"] = {name: f"{100 * i.low:.0f} to {100 * i.high:.0f}" for name, i in found.items()}
        low, high = (k / few, k / few) if drawn.collapsed else (drawn.low, drawn.high)
        rows[f"{k} of {few}"][POOLED] = f"{100 * low:.0f} to {100 * high:.0f}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="successes")


def both(
    records: Records, settings: Sequence[Setting], confidence: float, few: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`pilot.both`, with Wilson's interval."""
    return tuple(
        table.assign(wilson=[rate_interval(k, n, "wilson", confidence) for k, n in zip(table.k, table.n, strict=True)])
        for table in pilot.both(records, settings, confidence, few)
    )


def headline(found: pd.DataFrame) -> str:
    """The title of the figure of `smallest`."""
    few, many = found.index[0], found.index[found.index.get_indexer([100], method="nearest")[0]]
    return (
        f"What a study on a robot can find: with {text.count(few, 'episode')} {_drop(found[ROBOT][few])}, with {many} "
        f"{_drop(found[ROBOT][many])}"
    )


def findings(
    found: pd.DataFrame, rate: float, rates: pd.DataFrame, few: pd.DataFrame, many: pd.DataFrame, pilots: pd.DataFrame
) -> list[str]:
    """The chapter's answer. `found`: `smallest` from `rate`; `rates`: data/coverage; `few` and `many`: `both`;
    `pilots`: `ranking.of_pilots`.
    """
    return [
        _power(found, int(few.n.iloc[0]), int(many.n.iloc[0]), rate),
        _collapse(int(few.n.iloc[0]), rate),
        _agree(many, rates),
        _pilots(pilots, int(few.n.iloc[0]), len(many)),
    ]


def collapsed(few: pd.DataFrame, many: pd.DataFrame) -> str:
    """In how many pilots the bootstrap has no width; how wide the exact intervals are."""
    wide = [max(100 * interval.width for interval in table.exact) for table in (few, many)]
    within = sum(interval.collapsed for interval in few.bootstrap)
    since = ", since each task has one episode" if (few.n <= TASKS).all() else ""
    return (
        f"The bootstrap within tasks has no width in {within} of {text.count(len(few), 'pilot')}{since}. An exact "
        f"interval is up to {wide[0]:.0f} points wide after {text.count(int(few.n.iloc[0]), 'episode')}, "
        f"and up to {wide[1]:.0f} after {int(many.n.iloc[0])}."
    )


def paired(episodes: int, confidence: float) -> str:
    """What intervals of a difference on the same episodes say where nothing differs."""
    alike = Pairs(both=episodes, setting_only=0, control_only=0, neither=0)
    drawn = paired_bootstrap(alike, "episodes", confidence=confidence)
    told = "says nothing" if drawn.collapsed else "says something"
    return (
        f"A difference on the same episodes rests on those that end differently. Where none of {episodes} does, the "
        f"bootstrap {told}; by Tango's interval a drop of {100 * -drawn.low:.0f} points is still possible."
    )


def least_coverage(differences: pd.DataFrame) -> pd.DataFrame:
    """In what share of simulated studies each interval of a difference holds that of these tasks at least, in percent.

    `differences`: data/coverage.
    """
    ten = differences[(differences["tasks"] == TASKS) & (differences["target"] == "these tasks")]
    least = ten.groupby("method")["coverage"].min().rename({"tango": "Tango"} | WORDS)
    named = [name for name in ("Tango", *WORDS.values()) if name in least.index]
    shown = {name: text.percent(least[name]) for name in named}
    return pd.DataFrame({"holds, at least": shown}).rename_axis(columns="interval")


def orders(pilots: pd.DataFrame) -> pd.DataFrame:
    """The table of `ranking.of_pilots`: mean chances of a random pilot in percent, by size."""
    words = {"right": "right order", "level": "level", "wrong": "wrong order"}
    table = pilots.rename(columns=words)[["pairs", *words.values()]]
    table = table.assign(**{word: table[word].map(lambda chance: f"{100 * chance:.1f}") for word in words.values()})
    told = {True: "told apart by all episodes", False: "not told apart"}
    index = [(told[decided], f"{size} episodes") for decided, size in pilots.index]
    return table.set_axis(pd.MultiIndex.from_tuples(index)).rename_axis(index=[None, None], columns="pairs of settings")


def coverage_title(rates: pd.DataFrame, few: int) -> str:
    """The title of the figure of coverage."""
    least = exact_coverage(METHODS[POOLED], few, np.linspace(0.01, 0.99, 99)).min()
    new = rates[(rates["tasks"] == TASKS) & (rates["target"] == "new tasks") & (rates["icc"] == ALIKE)]
    best = new.groupby("method")["coverage"].min().max()
    some = "no interval does so in 90 %" if best < 0.9 else "some interval does in 90 %"
    return (
        f"With {text.count(few, 'episode')} the bootstrap holds the truth in as few as {text.percent(least)} of "
        f"studies; about new tasks {some} at every rate"
    )


def _drop(points: float) -> str:
    return f"a drop of {points:.0f} points" if isfinite(points) else "no drop at all"


def _power(found: pd.DataFrame, few: int, many: int, rate: float) -> str:
    robot, same = found[ROBOT], found[SAME]
    lead = f"{text.count(few, 'episode')} find only {_drop(robot[few])}"
    more = f"{many} find {_drop(same[many])}, or {_drop(found[LUCK][many])} where luck flips {100 * FLIPS:.0f} %"
    if many > few:
        those = f"only {_drop(robot[few])}" if isfinite(robot[few]) else "none"
        lead = f"{many} episodes: they find {_drop(robot[many])}, {few} {those}"
    small = f" So a loss of {100 * margins.BUY:.0f} points often stays open." if same[many] > 100 * margins.BUY else ""
    return (
        f"**{lead}.** Each finds it four times in five, from {text.percent(rate)} without reuse, where no two settings "
        f"meet the same episode, as on a robot. On the same episodes, as in simulation, {more} of the outcomes."
        f"{small}"
    )


def _collapse(few: int, rate: float) -> str:
    held = {name: exact_coverage(method, few, np.array([rate]))[0] for name, method in METHODS.items()}
    low = rate_interval(few, few).low
    return (
        f"**The bootstrap collapses to a point where everything succeeds.** Where {text.percent(rate)} succeed in "
        f"truth, the pooled one holds the truth in {text.percent(held[POOLED])} of studies of "
        f"{text.count(few, 'episode')}. Wilson's interval does in {text.percent(held['Wilson'])} and the exact one in "
        f"{text.percent(held['exact'])}. By the exact one, the true rate behind {few} of {few} may be as low as "
        f"{text.percent(low)}."
    )


def _agree(many: pd.DataFrame, rates: pd.DataFrame) -> str:
    ends = pd.DataFrame({end: _apart(many, end) for end in ("low", "high")}).max(axis=None)
    told = rates[(rates["tasks"] == TASKS) & (rates["icc"] == ALIKE)]
    ten = told.groupby(["target", "method"])["coverage"].min()
    these, new = ten["these tasks"], ten["new tasks"]
    agree = "nearly agree" if ends <= NEAR else "do not agree"
    safest = ", and the exact one is right most often" if these.idxmax() == METHODS["exact"] else ""
    return (
        f"**With {text.count(int(many.n.iloc[0]), 'episode')} the three {agree}{safest}.** "
        f"In {text.count(len(many), 'setting')} their bounds, of the bootstrap within tasks, differ by at most "
        f"{100 * ends:.0f} points. Where some tasks are harder than others, the exact interval holds the mean of these "
        f"tasks in at least {text.percent(these['clopper_pearson'])} of simulated studies. That bootstrap does so in "
        f"as few as {text.percent(these['stratified'])}. The mean of *new* tasks is held even by the exact one in as "
        f"few as {text.percent(new['clopper_pearson'])}."
    )


def _apart(many: pd.DataFrame, end: str) -> pd.Series:
    bounds = many[["exact", "wilson", "bootstrap"]].map(lambda interval: getattr(interval, end))
    return bounds.max(axis=1) - bounds.min(axis=1)


def _pilots(pilots: pd.DataFrame, few: int, settings: int) -> str:
    lead = []
    if (True, few) in pilots.index:
        row = pilots.loc[(True, few)]
        many = text.count(int(row["pairs"]), "pair")
        lead.append(f"ranks {text.percent(row['right'])} of {many} right that all episodes tell apart")
    if (False, few) in pilots.index:
        row = pilots.loc[(False, few)]
        many = text.count(int(row["pairs"]), "pair")
        lead.append(f"names a winner in {text.percent(1 - row['level'])} of {many} that they do not tell apart")
    return f"**A random pilot of {few} {text.listed(lead)}.**{_level(pilots, few, settings)}"


def _level(pilots: pd.DataFrame, few: int, settings: int) -> str:
    """How many pairs of `settings` have no order that a pilot could find, since both have the same successes."""
    pairs = settings * (settings - 1) // 2
    level = pairs - int(pilots.xs(few, level="episodes")["pairs"].sum())
    have = "has" if level == 1 else "have"
    return f" The other {text.count(level, 'pair')} of {pairs} {have} equal successes." if level else ""
