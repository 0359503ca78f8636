"""What *Why reuse fails* sets apart: share of reuse, age and moments of the cache, an old chunk from its start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import margins, matching, verdicts, wording
from kvlab.evidence.control_steps import mean_steps
from kvlab.evidence.rows import pairs, recorded, successes
from kvlab.evidence.share import mean_age, reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting

SPATIAL, TEN = "libero_spatial", "libero_10"
NO_REUSE = Setting("none")
ALIKE = 0.5  # replans: mean ages that differ by less count as one
SHARE, LATE, AGE, MOMENT, NEEDED, PLAN = (
    "at one age, reuse more often costs episodes",
    "inputs late at every replan cost more than a cache as old at half of them",
    "at one share, an older cache costs episodes",
    "at about one share and age, a clock's moments cost more than a gate's",
    "the same, within the replans that no reuse took",
    "to begin the old chunk from its start costs more than to go on in it",
)


@dataclass(frozen=True)
class Ladder:
    """Settings of one suite that are alike but for one thing; an explanation puts the last below the first."""

    explanation: str
    suite: str
    rungs: Sequence[Setting]

    @property
    def ends(self) -> tuple[Setting, Setting]:
        """The setting that is predicted to solve fewer, and the one that it is held against."""
        first, *_, last = self.rungs
        return last, first

    @property
    def says(self) -> str:
        """The prediction, by which it is found."""
        low, high = map(tables.lever, self.ends)
        return f"{self.suite}: {low}: fewer than {high}"


def _ladder(explanation: str, suite: str, *rungs: str) -> Ladder:
    return Ladder(explanation, suite, [*map(parse_setting, rungs)])


def _shares(suite: str, mode: str, *computed: int) -> Ladder:
    """Clocks that compute the first of so many replans and reuse the last: always one replan old."""
    return _ladder(SHARE, suite, *(f"{mode} when every({k}, {k - 1})" for k in computed), f"{mode} when every(2)")


def _late(suite: str, mode: str, part: str) -> Ladder:
    """Late inputs stand for a cache that is one replan old at every replan: it would be computed from them."""
    return _ladder(LATE, suite, f"{mode} when every(2)", f"none seeing late({part}, 1)")


def _ages(suite: str, mode: str, clocks: Sequence[str], gate: str) -> list[Ladder]:
    """Clocks at half of the replans, ever older caches; the oldest held against a young one and against a gate."""
    older = [f"{mode} when {clock}" for clock in clocks]
    return [
        _ladder(AGE, suite, f"{mode} when every(2)", *older),
        _ladder(MOMENT, suite, f"{mode} when {gate}", older[-1]),
    ]


def _plans(suite: str) -> Ladder:
    return _ladder(PLAN, suite, "chunk when every(2)", "repeat when every(2)")


LADDERS = (
    _shares(SPATIAL, "full", 8, 4),
    _shares(TEN, "full", 4),
    _shares(TEN, "prefix", 4),
    *(_late(suite, "full", "all") for suite in (SPATIAL, TEN)),
    *(_late(suite, "prefix", "vision") for suite in (SPATIAL, TEN)),
    *_ages(SPATIAL, "full", ["every(14, 7)"], "vision >= 0.96"),
    *_ages(SPATIAL, "prefix", ["every(6, 3)"], "vision >= 0.945"),
    *_ages(TEN, "full", ["every(24, 12)"], "vision >= 0.97"),
    *_ages(TEN, "prefix", ["every(20, 10)"], "vision >= 0.96"),
    _plans(SPATIAL),
    _plans(TEN),
)
FURTHER = {  # told where they are recorded
    TEN: [
        parse_setting(said)
        for said in (
            *("none seeing late(all, 1)", "none seeing late(vision, 1)", "full when every(24, 12)"),
            "prefix when every(4, 3)",
        )
    ]
}
OLD_CACHE, BEGUN_AGAIN = (parse_setting(f"{mode} when every(2)") for mode in ("full", "repeat"))


def settings(suite: str) -> list[Setting]:
    """What is compared in a suite, each once, those of one explanation together; without what is FURTHER."""
    mine = [one for ladder in LADDERS if ladder.suite == suite for one in ladder.rungs]
    return [one for one in dict.fromkeys([*mine, OLD_CACHE]) if one not in FURTHER.get(suite, ())]


def ladders(records: Mapping[str, Records]) -> list[Ladder]:
    """LADDERS with the rungs that are recorded; those of one rung compare nothing and are left out."""
    known = {suite: {*recorded(rows)} for suite, rows in records.items()}
    found = [
        replace(one, rungs=[setting for setting in one.rungs if setting in known[one.suite]])
        for one in LADDERS
        if one.suite in known
    ]
    return [one for one in found if len(one.rungs) > 1]


def explanations(records: Mapping[str, Records], confidence: float = 0.95) -> dict[str, dict[str, Prediction]]:
    """What each explanation predicts, ladder by ladder: that the last rung solves fewer than the first.

    NEEDED is MOMENT in the other count of reuse: the clock at its share of the replans that no reuse took, compared
    with image gates at that share. The predictions of one explanation share the error.
    """
    found = {}
    for one in ladders(records):
        found.setdefault(one.explanation, {})[one.says] = pairs(records[one.suite], *one.ends)
    judged = {name: verdicts.fewer(counts, confidence) for name, counts in found.items()}
    if needed := _needed(records, confidence):
        judged[NEEDED] = needed
    return judged


def _needed(records: Mapping[str, Records], confidence: float) -> dict[str, Prediction]:
    mine = [one for one in ladders(records) if one.explanation == MOMENT]
    each = 1 - (1 - confidence) / max(len(mine), 1)
    found = {}
    for one in mine:
        (clock, _), rows = one.ends, records[one.suite]
        curve = [NO_REUSE, *matching.image_gates(rows, clock.mode)]
        (gain,) = matching.matched(rows, [clock], curve, NO_REUSE, each, beyond=True).gain
        found |= {_fewer_than_gates(one): Prediction(gain, side=-1)} if gain is not None else {}
    return found


def _fewer_than_gates(ladder: Ladder) -> str:
    return f"{ladder.suite}: {tables.lever(ladder.ends[0])}: fewer than image gates that reuse as often"


def table(records: Mapping[str, Records]) -> pd.DataFrame:
    """Every setting: successes, share of replans that reuse, mean age in replans of what they reuse, control steps.

    Share and age are of all replans, and of those needed: as many of an episode as no reuse took.
    """
    rows = []
    told = ladders(records)
    for suite, mine in records.items():
        rungs = [setting for one in told if one.suite == suite for setting in one.rungs]
        for setting in dict.fromkeys([*rungs, OLD_CACHE]):
            success = successes(mine, setting)
            cells = {"suite": suite, "setting": tables.lever(setting)}
            cells |= {"successes": f"{success.sum()} of {len(success)}"}
            for count, within in (("", None), (", needed", NO_REUSE)):
                age = mean_age(mine, setting, within)
                cells |= {f"replans that reuse{count}": text.percent(reuse_share(mine, setting, within))}
                cells |= {f"mean age{count}": "" if pd.isna(age) else f"{age:.1f}"}
            rows.append(cells | {"control steps to success": f"{mean_steps(mine, setting):.0f}"})
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")


def finding(
    records: Mapping[str, Records], explained: Mapping[str, Mapping[str, Prediction]], margin: float = margins.BUY
) -> str:
    """How many of the statements in `comparisons` end in which way, and what of NEEDED is not apart or not known."""
    mine = [one for one in ladders(records) if one.explanation == MOMENT]
    ends = [*map(verdicts.verdict, explained.values()), _same(_apart(records), margin)]
    words = (verdicts.SUPPORTED, verdicts.REFUTED, verdicts.IN_PART, verdicts.MIXED, verdicts.NOT_SHOWN)
    counts = [f"{ends.count(end)} {'is' if ends.count(end) == 1 else 'are'} {end}" for end in words if end in ends]
    said = f"**Of {text.count(len(ends), 'statement')} {text.listed(counts)}.**"
    if NEEDED in explained:
        return said + _older(records, mine)
    unknown = " Within the replans that no reuse took, no image gate reuses as often as the clocks."
    return said + unknown * bool(mine)


def comparisons(
    records: Mapping[str, Records], explained: Mapping[str, Mapping[str, Prediction]], margin: float = margins.BUY
) -> pd.DataFrame:
    """One row per comparison, under its explanation and the verdict: both settings, their successes, the points.

    Last whether keeping everything does as the old chunk from its start does, within `margin`, each interval by itself.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for one in ladders(records):
        low, high = one.ends
        row = _row(records, one.suite, low, high) | _came_out(explained[one.explanation][one.says])
        found.setdefault(_headed(one.explanation, explained), []).append(row)
        if one.explanation == MOMENT and (judged := explained.get(NEEDED, {}).get(_fewer_than_gates(one))):
            gates = _row(records, one.suite, low, high) | {"compared with": "image gates that reuse as often"}
            found.setdefault(_headed(NEEDED, explained), []).append(gates | _came_out(judged))
    words = {margins.INSIDE: "holds", margins.OUTSIDE: "fails", margins.UNDECIDED: "open"}
    apart = _apart(records)
    same = f"a cache of everything does as well as the old chunk from its start, within {100 * margin:.0f} points"
    found[f"{same}: {_same(apart, margin)}"] = [
        _row(records, suite, OLD_CACHE, BEGUN_AGAIN)
        | {"points": wording.points(gap, margin), "prediction": words[margins.apart(gap, margin)]}
        for suite, gap in apart.items()
    ]
    each = {name: pd.DataFrame(rows).set_index("suite") for name, rows in found.items()}
    return pd.concat(each).rename_axis(index=[None, None], columns="statement and suite")


def _headed(name: str, explained: Mapping[str, Mapping[str, Prediction]]) -> str:
    return f"{name}: {verdicts.verdict(explained[name])}"


def _row(records: Mapping[str, Records], suite: str, low: Setting, high: Setting) -> dict[str, str]:
    """What is compared: `high` keeps what the column says; so does `low`, unless it says what it keeps, or nothing."""
    solved = {one: successes(records[suite], one) for one in (low, high)}
    low_name = tables.gate(low) if low.mode in (high.mode, NO_REUSE.mode) else tables.lever(low)
    named = {"setting": (low_name, low), "compared with": (tables.gate(high), high)}
    cells = {"suite": suite, "kept": tables.kept(high)}
    return cells | {
        column: f"{name}: {solved[one].sum()} of {len(solved[one])}" for column, (name, one) in named.items()
    }


def _came_out(prediction: Prediction) -> dict[str, str]:
    """The last cells of a row, as `verdicts.table` has them."""
    ((effect, came_out),) = verdicts.table({"": prediction}).to_numpy()
    return {"points": effect, "prediction": came_out}


def _older(records: Mapping[str, Records], mine: Sequence[Ladder]) -> str:
    """Where a clock's caches are clearly older than its gate's by NEEDED, so that moments are not all: a sentence."""
    older = pd.Series(
        [
            clock - gate
            for one in mine
            for clock, gate in [[mean_age(records[one.suite], end, NO_REUSE) for end in one.ends]]
        ]
    )
    if not (older > ALIKE).any():
        return ""
    return (
        f" Within the replans that no reuse took, a clock's caches are up to {older.max():.1f} replans older than its "
        "gate's: age and moment are not apart there."
    )


def _apart(records: Mapping[str, Records]) -> dict[str, Interval]:
    """By how much a chunk computed from an old cache does better than the old chunk from its start."""
    return {suite: difference(mine, OLD_CACHE, BEGUN_AGAIN) for suite, mine in records.items()}


def _same(apart: Mapping[str, Interval], margin: float) -> str:
    """Whether keeping everything does as the old chunk from its start, by `_apart`: supported, refuted or not shown."""
    judged = frozenset(margins.apart(gap, margin) for gap in apart.values())
    decided = {frozenset({margins.INSIDE}): verdicts.SUPPORTED, frozenset({margins.OUTSIDE}): verdicts.REFUTED}
    return decided.get(judged, verdicts.NOT_SHOWN)
