"""What *Why reuse fails* sets apart: share of reuse, age and moments of the cache, an old chunk from its start."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import margins, matching, verdicts
from kvlab.evidence.control_steps import mean_steps
from kvlab.evidence.rows import pairs, recorded, successes
from kvlab.evidence.share import mean_age, reuse_share
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting

SPATIAL, TEN = "libero_spatial", "libero_10"
NO_REUSE = Setting("none")
ALIKE = 0.5  # replans: mean ages that differ by less count as one
SHARE, LATE, AGE, MOMENT, NEEDED, PLAN = (
    "reuse more often",
    "inputs late at every replan",
    "an older cache",
    "a clock's moments",
    "a clock's moments, within the replans that no reuse took",
    "the chunk from its start",
)


@dataclass(frozen=True)
class Ladder:
    """Settings of one suite that are alike but for one thing; an explanation puts the last below the first.

    `alike` says what they share; of `rungs`, setting by how a sentence calls it: `at half of the replans`.
    """

    explanation: str
    suite: str
    alike: str
    rungs: Mapping[str, Setting]

    @property
    def ends(self) -> tuple[Setting, Setting]:
        """The setting that is predicted to solve fewer, and the one that it is held against."""
        first, *_, last = self.rungs.values()
        return last, first

    @property
    def says(self) -> str:
        """The prediction, as a table names it."""
        low, high = map(tables.lever, self.ends)
        return f"{self.suite}: {low}: fewer than {high}"


def _ladder(explanation: str, suite: str, alike: str, rungs: Mapping[str, str]) -> Ladder:
    return Ladder(explanation, suite, alike, {words: parse_setting(said) for words, said in rungs.items()})


def _shares(suite: str, mode: str, computed: Mapping[str, int]) -> Ladder:
    """Clocks that compute the first of so many replans and reuse the last: always one replan old."""
    rungs = {words: f"{mode} when every({k}, {k - 1})" for words, k in computed.items()}
    return _ladder(
        SHARE, suite, f"{KEPT[mode]}, one replan old", rungs | {"where every second does": f"{mode} when every(2)"}
    )


def _late(suite: str, mode: str, part: str, inputs: str) -> Ladder:
    """Late inputs stand for a cache that is one replan old at every replan: it would be computed from them."""
    rungs = {
        "at half of the replans": f"{mode} when every(2)",
        f"where {inputs} a replan late at every one, which stands for such a cache": f"none seeing late({part}, 1)",
    }
    return _ladder(LATE, suite, f"{KEPT[mode]}, one replan old", rungs)


def _ages(suite: str, mode: str, ages: Mapping[str, str], gate: str) -> list[Ladder]:
    """Clocks at half of the replans by the mean age of their caches; the oldest held against a young one and a gate."""
    alike, *_, age = f"{KEPT[mode]} at about half of the replans", *ages
    older = {f"when it is {age} old": f"{mode} when {clock}" for age, clock in ages.items()}
    moments = {"by an image gate": f"{mode} when {gate}", "by a clock": f"{mode} when {ages[age]}"}
    return [
        _ladder(AGE, suite, alike, {"when it is one replan old": f"{mode} when every(2)"} | older),
        _ladder(MOMENT, suite, f"{alike}, {age} old", moments),
    ]


def _plans(suite: str) -> Ladder:
    ways = {
        "where the robot goes on in its chunk": "chunk when every(2)",
        "where it begins it from its start": "repeat when every(2)",
    }
    return _ladder(PLAN, suite, "at every second replan", ways)


KEPT = {"full": "with everything kept", "prefix": "with images and instruction kept"}
RARELY = {"where every fourth replan reuses": 4}
LADDERS = (
    _shares(SPATIAL, "full", {"where every eighth replan reuses": 8, "where every fourth does": 4}),
    _shares(TEN, "full", RARELY),
    _shares(TEN, "prefix", RARELY),
    *(_late(suite, "full", "all", "all inputs are") for suite in (SPATIAL, TEN)),
    *(_late(suite, "prefix", "vision", "the images are") for suite in (SPATIAL, TEN)),
    *_ages(SPATIAL, "full", {"four replans": "every(14, 7)"}, "vision >= 0.96"),
    *_ages(SPATIAL, "prefix", {"two replans": "every(6, 3)"}, "vision >= 0.945"),
    *_ages(TEN, "full", {"six and a half replans": "every(24, 12)"}, "vision >= 0.97"),
    *_ages(
        TEN,
        "prefix",
        {"one and a half replans": "every(4, 2)", "five and a half replans": "every(20, 10)"},
        "vision >= 0.96",
    ),
    _plans(SPATIAL),
    _plans(TEN),
)
FURTHER = {  # told where they are recorded
    TEN: [
        parse_setting(said)
        for said in (
            *("none seeing late(all, 1)", "none seeing late(vision, 1)", "full when every(24, 12)"),
            *("prefix when every(4, 3)", "prefix when every(4, 2)"),
        )
    ]
}
OLD_CACHE, BEGUN_AGAIN = (parse_setting(f"{mode} when every(2)") for mode in ("full", "repeat"))
LEADS = {
    SHARE: "At one age, reuse more often costs episodes",
    LATE: "Inputs that are late at every replan cost more than a cache as old at half of them",
    AGE: "At one share, an older cache costs episodes",
    MOMENT: "At about one share and age, a clock's moments cost more than a gate's",
    PLAN: "To begin the old chunk from its start costs more than to go on in it",
}


def settings(suite: str) -> list[Setting]:
    """What is compared in a suite, each once, those of one explanation together; without what is FURTHER."""
    mine = [one for ladder in LADDERS if ladder.suite == suite for one in ladder.rungs.values()]
    return [one for one in dict.fromkeys([*mine, OLD_CACHE]) if one not in FURTHER.get(suite, ())]


def ladders(records: Mapping[str, Records]) -> list[Ladder]:
    """LADDERS with the rungs that are recorded; those of one rung compare nothing and are left out."""
    known = {suite: {*recorded(rows)} for suite, rows in records.items()}
    found = [
        replace(one, rungs={words: setting for words, setting in one.rungs.items() if setting in known[one.suite]})
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
        rungs = [setting for one in told if one.suite == suite for setting in one.rungs.values()]
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


def findings(
    records: Mapping[str, Records], explained: Mapping[str, Mapping[str, Prediction]], margin: float = margins.BUY
) -> list[str]:
    """One paragraph an explanation: its verdict, and every ladder with its ends compared."""
    said = []
    for name, lead in LEADS.items():
        if mine := [one for one in ladders(records) if one.explanation == name]:
            each = [_ladder_said(records[one.suite], one, explained[name]) for one in mine]
            said.append(" ".join([f"**{lead}: {text.verdict(explained[name])}.**", *each]))
            said += [_needed_said(records, mine, explained.get(NEEDED, {}))] if name == MOMENT else []
    return [*said, _like_full(records, margin)]


def _ladder_said(records: Records, ladder: Ladder, predictions: Mapping[str, Prediction]) -> str:
    first, *others = (f"{int(successes(records, one).sum())}{{}} {words}" for words, one in ladder.rungs.items())
    among = f" of {text.count(len(successes(records, ladder.ends[0])), 'episode')} succeed"
    return (
        f"In `{ladder.suite}`, {ladder.alike}, {text.listed([first.format(among), *(o.format('') for o in others)])}. "
        f"The last is {text.difference(predictions[ladder.says].effect, next(iter(ladder.rungs)))}."
    )


def _needed_said(records: Mapping[str, Records], mine: Sequence[Ladder], predictions: Mapping[str, Prediction]) -> str:
    """The moments in the other count: without what a gate reuses after a failure."""
    (share, age), (needed_share, needed_age) = (_unlike(records, mine, within) for within in (None, NO_REUSE))
    verdict = text.verdict(predictions) if predictions else "not known, since no image gate reuses so often"
    effects = [
        f"In `{one.suite}`, {one.alike}, the clock solves "
        f"{text.difference(predictions[_fewer_than_gates(one)].effect, 'image gates')}."
        for one in mine
        if _fewer_than_gates(one) in predictions
    ]
    verdict += _older(records, mine)
    return " ".join(
        [
            f"**The same, counting only as many replans of an episode as no reuse took: {verdict}.** A gate also "
            "allows reuse where a policy has failed and stands still. In this count the clock is compared with image "
            "gates that reuse as often.",
            *effects,
            f"Clock and gate are alike in the mean only: over all replans, shares differ by up to {share} and ages by "
            f"up to {age} replans; in this count, by {needed_share} and {needed_age} replans. Clocks of younger "
            "caches are in [Synchronized gating](synchronized_gating.ipynb), in both counts.",
        ]
    )


def _older(records: Mapping[str, Records], mine: Sequence[Ladder]) -> str:
    """Where a clock's caches are clearly older than its gate's in that count, so that moments are not all: a clause."""
    older = pd.Series(
        [
            clock - gate
            for one in mine
            for clock, gate in [[mean_age(records[one.suite], end, NO_REUSE) for end in one.ends]]
        ]
    )
    if not (older > ALIKE).any():
        return ""
    return f"; but the clock's caches are up to {older.max():.1f} replans older there, so age and moment are not apart"


def _unlike(records: Mapping[str, Records], mine: Sequence[Ladder], within: Setting | None) -> tuple[str, str]:
    """By how much the ends of ladders differ at most in share and in mean age."""

    def most(measure: Callable[[Records, Setting, Setting | None], float]) -> float:
        both = ((measure(records[one.suite], end, within) for end in one.ends) for one in mine)
        return max(abs(low - high) for low, high in both)

    return text.count(round(100 * most(reuse_share)), "point"), f"{most(mean_age):.1f}"


def _like_full(records: Mapping[str, Records], margin: float) -> str:
    """Whether a chunk computed from an old cache does as the old chunk from its start."""
    apart = {suite: difference(mine, OLD_CACHE, BEGUN_AGAIN) for suite, mine in records.items()}
    judged = {margins.apart(gap, margin) for gap in apart.values()}
    same, points = "as well as the old chunk from its start", f"{100 * margin:.0f} points"
    lead = {
        frozenset({margins.INSIDE}): f"A cache of everything does {same}, within {points}",
        frozenset({margins.OUTSIDE}): f"A cache of everything does not do {same}",
    }.get(frozenset(judged), f"Whether a cache of everything does {same} is not decided")
    said = [
        f"In `{suite}`, at every second replan, keeping everything solves "
        f"{text.difference(gap, 'the old chunk from its start', margin)}; {margins.apart_words(gap, margin)}."
        for suite, gap in apart.items()
    ]
    return f"**{lead}.** It computes the plan of the old moment anew, with other noise. {' '.join(said)}"
