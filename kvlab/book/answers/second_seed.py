"""Whether a second seed confirms a setting that was chosen among many, in every chapter that recommends one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import margins, wording
from kvlab.evidence.rows import pairs
from kvlab.evidence.stats import Interval, Pairs, paired_difference
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NO_REUSE = Setting("none")
SAME = "the same tasks and initial states, with other noise and other places of cabinet and stove"
_LEADS = {
    margins.INSIDE: "A second seed confirms it",
    margins.OUTSIDE: "A second seed contradicts it",
    margins.UNDECIDED: "A second seed does not confirm it",
    None: "No second seed is recorded that could confirm it",
}
_ADVICE = {margins.INSIDE: "Take {}", margins.OUTSIDE: "Do not rely on {}"}  # what is not confirmed is only to be tried


@dataclass(frozen=True)
class SecondSeed:
    """What the seed after that of `studies`, one a suite, says of a loss of `margin` (a share)."""

    studies: tuple[Study, ...]
    margin: float = margins.BUY
    confidence: float = 0.95

    def of(self, setting: Setting) -> "Again":
        """What it says of `setting`."""
        found = {}
        for one in self.studies:
            study = replace(one, settings=(NO_REUSE, setting), seed=one.seed + 1)
            many = int(study.plan()["recorded"].min())
            found[study] = many, pairs(study.read(), setting, NO_REUSE) if many == study.episodes else None
        return Again(setting, found, self.margin, self.confidence)

    def choose(self, shown: Sequence[Setting]) -> "Choice | None":
        """What to take of the settings that the first seed shows to lose under the margin, given the cheapest first.

        It is the cheapest that the second seed, which chose none, shows to as well. Where there is none, the cheapest
        stands by the first seed alone. None where the first shows none.
        """
        cheaper = []
        for again in map(self.of, shown):
            if again.verdict == margins.INSIDE:
                return Choice(again, tuple(cheaper))
            cheaper.append(again)
        return Choice(cheaper[0]) if cheaper else None


@dataclass(frozen=True)
class Choice:
    """What is recommended, `taken`, and the `cheaper` settings that the first seed alone shows to lose so little.

    Where the second seed confirms none, `taken` is not confirmed either, and none is cheaper.
    """

    taken: "Again"
    cheaper: "tuple[Again, ...]" = ()

    @property
    def confirmed(self) -> bool:
        """Whether the second seed shows it too."""
        return self.taken.verdict == margins.INSIDE

    @property
    def all(self) -> "tuple[Again, ...]":
        """What is taken, then what is cheaper."""
        return self.taken, *self.cheaper


@dataclass(frozen=True)
class Again:
    """A setting and no reuse once more: of each suite's study how many episodes are recorded, and the pairs if all are.

    A suite without pairs does not count.
    """

    setting: Setting
    found: Mapping[Study, tuple[int, Pairs | None]]
    margin: float
    confidence: float

    @property
    def verdict(self) -> str | None:
        """Of `margins`, over all suites: outside in one is enough, inside takes all; None where nothing is recorded."""
        if not any(many for many, _ in self.found.values()):
            return None
        losses = {self._loss(counts) if counts else margins.UNDECIDED for _, counts in self.found.values()}
        return next(one for one in (margins.OUTSIDE, margins.UNDECIDED, margins.INSIDE) if one in losses)

    @property
    def advice(self) -> str:
        """What to do with the setting: `Take 1 denoising step`, or try it first, or do not rely on it."""
        return _ADVICE.get(self.verdict, "Try {} first").format(tables.lever(self.setting))

    @property
    def lead(self) -> str:
        """Whether a second seed confirms it, without the points."""
        return _LEADS[self.verdict]

    @property
    def clause(self) -> str:
        """The same suite by suite."""
        if self.verdict is None:
            return f"{self.lead}."
        said = {
            study.protocol.suite: self._words(counts) if counts else _so_far(study, many)
            for study, (many, counts) in self.found.items()
        }
        return f"{self.lead}: {_together(said)}."

    @property
    def missing(self) -> str:
        """What keeps the second seed from confirming it, as a clause; empty where it does."""
        if self.verdict is None:
            return "no second seed is recorded"
        lacking = {
            study.protocol.suite: self._words(counts) if counts else _so_far(study, many)
            for study, (many, counts) in self.found.items()
            if not counts or self._loss(counts) != margins.INSIDE
        }
        if len(lacking) == len(self.found) > 1 and len({*lacking.values()}) == 1:
            return f"by a second seed {next(iter(lacking.values()))}"
        return f"by a second seed {_together(lacking)}" if lacking else ""

    def seeds(self, first: Mapping[str, Records]) -> dict[str, list[Pairs]]:
        """By suite the pairs of the first seed, whose rows are given, and those of the second where it counts."""
        again = {study.protocol.suite: [counts] for study, (_, counts) in self.found.items() if counts}
        return {suite: [pairs(rows, self.setting, NO_REUSE), *again.get(suite, [])] for suite, rows in first.items()}

    def points(self, first: Mapping[str, Records]) -> dict[str, list[str]]:
        """By suite the difference in points of success, as tables write it, of each of `seeds`."""
        return {suite: [self._points(one) for one in counts] for suite, counts in self.seeds(first).items()}

    def effects(self, first: Mapping[str, Records]) -> str:
        """The points of each suite: by the second seed, which did not choose the setting, where all have it; else by
        the first, whose rows are given.
        """
        told, seeds = self.points(first), self.seeds(first)
        second = all(len(each) > 1 for each in told.values())
        many = sorted({each[-1 if second else 0].n for each in seeds.values()})
        said = "; ".join(f"{each[-1 if second else 0]} in `{suite}`" for suite, each in told.items())
        lead = "Points by the second seed, which chose none" if second else "Points by the first seed"
        return f"{lead}: {said}, {text.listed(map(str, many))} episodes{' each' * (len(told) > 1)}."

    def _lost(self, counts: Pairs) -> Interval:
        return paired_difference(counts, self.confidence)

    def _loss(self, counts: Pairs) -> str:
        return margins.loss(self._lost(counts), self.margin)

    def _points(self, counts: Pairs) -> str:
        return wording.points(self._lost(counts), self.margin)

    def _words(self, counts: Pairs) -> str:
        points = f"{100 * self.margin:.0f} points"
        return {
            margins.INSIDE: f"it loses under {points}, if any",
            margins.OUTSIDE: f"it loses over {points}",
            margins.UNDECIDED: f"a loss of {points} is open",
        }[self._loss(counts)]


def table(found: Sequence[Again], first: Mapping[str, Records]) -> pd.DataFrame:
    """Of those with rows of a second seed, suite by suite: a row for each seed, and one for both.

    `first`: the rows of the first seed. `loss` is in the words of `margins.word`.
    """
    rows = []
    for one in found:
        recorded = {study.protocol.suite: many for study, (many, _) in one.found.items()}
        if not any(recorded.values()):
            continue
        for suite, counts in one.seeds(first).items():
            seeds = dict(zip(("first", "second"), counts, strict=False))
            seeds |= {"both": _sum(counts)} if len(counts) > 1 else {}
            told = [
                (seed, one._points(each), margins.word(one._lost(each), one.margin)) for seed, each in seeds.items()
            ]
            if len(counts) == 1:
                told.append(("second", f"{recorded.get(suite)} recorded", ""))
            names = ("setting", "suite", "seed", "points", "loss")
            if recorded.get(suite):
                rows += [dict(zip(names, (tables.lever(one.setting), suite, *each), strict=True)) for each in told]
    return tables.headed(rows)


def _sum(counts: list[Pairs]) -> Pairs:
    names = ("both", "setting_only", "control_only", "neither")
    return Pairs(*(sum(getattr(one, name) for one in counts) for name in names))


def _together(said: Mapping[str, str]) -> str:
    """What is said of several suites is said once: `in A and B it loses under 5 points; in C that is open`."""
    suites = {}
    for suite, words in said.items():
        suites.setdefault(words, []).append(f"`{suite}`")
    return "; ".join(f"in {text.listed(some)} {words}" for words, some in suites.items())


def _so_far(study: Study, many: int) -> str:
    return f"{many or 'none'} of {text.count(study.episodes, 'episode')} {'is' if many < 2 else 'are'} recorded"
