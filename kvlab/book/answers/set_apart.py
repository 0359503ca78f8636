"""What *Why reuse fails* sets apart: share of reuse, age of the cache, its moments, and an old plan begun again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import margins, verdicts
from kvlab.evidence.control_steps import mean_steps
from kvlab.evidence.rows import of_setting, pairs, successes
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting

SPATIAL, TEN = "libero_spatial", "libero_10"
SHARE = "reuse more often"
AGE = "an older cache"
MOMENT = "a clock's moments"
PLAN = "the plan begun again"
LATE = "late(all, 1)"  # what a cache that is one replan old everywhere would be computed from


@dataclass(frozen=True)
class Ladder:
    """Settings of one suite that are alike but for one thing; an explanation puts each below the one before.

    `alike` says what they share; of `rungs`, setting by how a sentence calls it: `at half of the replans`.
    """

    explanation: str
    suite: str
    alike: str
    rungs: Mapping[str, Setting]


def _ladder(explanation: str, suite: str, alike: str, rungs: Mapping[str, str]) -> Ladder:
    return Ladder(explanation, suite, alike, {words: parse_setting(said) for words, said in rungs.items()})


def _shares(suite: str, further: Mapping[str, str]) -> Ladder:
    often = {"at a quarter of the replans": "full when every(4, 3)", "at half": "full when every(2)"}
    return _ladder(SHARE, suite, f"{_ALL}, one replan old", often | further)


def _ages(suite: str, alike: str, mode: str, age: str, clock: str, gate: str) -> list[Ladder]:
    """A clock whose caches are `age` replans old at half of the replans: held against younger ones, and a gate's."""
    half, old = f"{alike} at half of the replans", f"{mode} when {clock}"
    return [
        _ladder(AGE, suite, half, {"when it is one replan old": f"{mode} when every(2)", f"when it is {age} old": old}),
        _ladder(MOMENT, suite, f"{half}, {age} old", {"by an image gate": f"{mode} when {gate}", "by a clock": old}),
    ]


def _plans(suite: str) -> Ladder:
    ways = {
        "where the robot goes on in its chunk": "chunk when every(2)",
        "where it begins it again": "repeat when every(2)",
    }
    return _ladder(PLAN, suite, "at every second replan", ways)


_ALL, _PREFIX = "with everything kept", "with images and instruction kept"
LADDERS = (
    _shares(SPATIAL, {"at all": f"none seeing {LATE}"}),
    _shares(TEN, {}),
    *_ages(SPATIAL, _ALL, "full", "four replans", "every(14, 7)", "vision >= 0.96"),
    *_ages(SPATIAL, _PREFIX, "prefix", "two replans", "every(6, 3)", "vision >= 0.945"),
    *_ages(TEN, _PREFIX, "prefix", "five replans", "every(20, 10)", "vision >= 0.96"),
    _plans(SPATIAL),
    _plans(TEN),
)
OLD_CACHE, BEGUN_AGAIN = (parse_setting(f"{mode} when every(2)") for mode in ("full", "repeat"))
LEADS = {
    SHARE: "At one age, reuse more often costs episodes",
    AGE: "At one share, an older cache costs episodes",
    MOMENT: "At one share and age, a clock's moments cost more than a gate's",
    PLAN: "To begin the old plan again costs more than to go on in it",
}


def settings(suite: str) -> list[Setting]:
    """What is compared in a suite, each once, those of one explanation together."""
    mine = [one for ladder in LADDERS if ladder.suite == suite for one in ladder.rungs.values()]
    return [*dict.fromkeys([*mine, OLD_CACHE])]


def explanations(records: Mapping[str, Records], confidence: float = 0.95) -> dict[str, dict[str, Prediction]]:
    """What each explanation predicts of its ladders, rung by rung; the predictions of one share the error."""
    found = {}
    for ladder in LADDERS:
        steps = [*ladder.rungs.values()]
        found.setdefault(ladder.explanation, {}).update(
            {_says(ladder.suite, low, high): pairs(records[ladder.suite], low, high) for high, low in _steps(steps)}
        )
    return {name: verdicts.fewer(counts, confidence) for name, counts in found.items()}


def table(records: Mapping[str, Records]) -> pd.DataFrame:
    """Every setting: the share of replans that reuse, the mean age of what they reuse, successes, control steps."""
    rows = []
    for suite, mine in records.items():
        for setting in settings(suite):
            success, (share, age) = successes(mine, setting), _reuse(mine, setting)
            cells = {"suite": suite, "setting": tables.lever(setting), "replans that reuse": text.percent(share)}
            cells |= {"mean age, replans": f"{age:.1f}", "successes": f"{success.sum()} of {len(success)}"}
            rows.append(cells | {"control steps to success": f"{mean_steps(mine, setting):.0f}"})
    return pd.DataFrame(rows).set_index("suite").rename_axis(index=None, columns="suite")


def findings(records: Mapping[str, Records], explained: Mapping[str, Mapping[str, Prediction]]) -> list[str]:
    """One paragraph an explanation: its verdict, and every ladder with the step that is predicted last."""
    said = [
        f"**{LEADS[name]}: {verdicts.verdict(predictions)}.** "
        + " ".join(_ladder_said(records[one.suite], one, predictions) for one in LADDERS if one.explanation == name)
        for name, predictions in explained.items()
    ]
    return [*said, _like_full(records)]


def _ladder_said(records: Records, ladder: Ladder, predictions: Mapping[str, Prediction]) -> str:
    first, *others = (f"{int(successes(records, one).sum())}{{}} {words}" for words, one in ladder.rungs.items())
    *_, (high, low) = _steps([*ladder.rungs.values()])
    among = f" of {text.count(len(successes(records, low)), 'episode')} succeed"
    effect = predictions[_says(ladder.suite, low, high)].effect
    return (
        f"In `{ladder.suite}`, {ladder.alike}, {text.listed([first.format(among), *(o.format('') for o in others)])}. "
        f"The last is {text.difference(effect, [*ladder.rungs][-2])}."
    )


def _like_full(records: Mapping[str, Records]) -> str:
    """Whether a chunk computed from an old cache does as the old chunk begun again."""
    apart = {suite: difference(mine, OLD_CACHE, BEGUN_AGAIN) for suite, mine in records.items()}
    said = [
        f"In `{suite}`, at every second replan, keeping everything solves "
        f"{text.difference(gap, 'the old chunk begun again')}; {margins.apart_words(gap)}."
        for suite, gap in apart.items()
    ]
    asked = "Does a cache of everything do as well as the old plan begun again? It computes the old moment's plan anew."
    return f"{asked} {' '.join(said)}"


def _steps(rungs: Sequence[Setting]) -> list[tuple[Setting, Setting]]:
    return [*zip(rungs, rungs[1:], strict=False)]


def _says(suite: str, low: Setting, high: Setting) -> str:
    return f"{suite}: {tables.lever(low)}: fewer than {tables.lever(high)}"


def _reuse(records: Records, setting: Setting) -> tuple[float, float]:
    """Share of replans that reuse and mean age of what they reuse; of late inputs, what a cache of that age would."""
    replans = of_setting(records.replans, setting)
    old = replans["replan"].clip(upper=1) if setting.seeing == LATE else replans["age"]
    return float((old > 0).mean()), float(old[old > 0].mean())
