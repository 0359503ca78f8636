"""Whether a second seed confirms a setting that was chosen among many, in every chapter that recommends one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvlab.book import tables, text
from kvlab.evidence import margins, summary
from kvlab.evidence.stats import Interval
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


@dataclass(frozen=True)
class SecondSeed:
    """What the seed after that of `studies`, one a suite, says of a loss of `margin` (a share).

    A suite counts where all of its episodes are recorded, of the setting and of no reuse.
    """

    studies: tuple[Study, ...]
    margin: float = margins.BUY
    confidence: float = 0.95

    def confirms(self, setting: Setting) -> bool:
        """Whether the loss is inside the margin in every suite."""
        return self._lead([*self._found(setting)]) == _LEADS[margins.INSIDE]

    def clause(self, setting: Setting) -> str:
        """One sentence, for the answer that recommends `setting`."""
        found, points = list(self._found(setting)), f"{100 * self.margin:.0f} points"
        if (lead := self._lead(found)) == _LEADS[None]:
            return f"{lead}."
        words = {
            margins.INSIDE: f"it loses under {points}",
            margins.OUTSIDE: f"it loses over {points}",
            margins.UNDECIDED: f"a loss of {points} is open",
        }
        suites = {}
        for study, many, lost in found:
            said = words[margins.loss(lost, self.margin)] if lost else _so_far(study, many)
            suites.setdefault(said, []).append(f"`{study.protocol.suite}`")
        each = "; ".join(f"in {text.listed(some)} {said}" for said, some in suites.items())
        return f"{lead}: {each}."

    def told(self, setting: Setting) -> str:
        """The same with what is compared, and the effect in each suite."""
        found = list(self._found(setting))
        seeds = sorted({study.seed for study, *_ in found})
        said = [
            f"In `{study.protocol.suite}` {margins.loss_words(lost, self.margin)}: "
            f"{text.difference(lost, 'without reuse', self.margin)}, {text.count(many, 'episode')}."
            if lost
            else f"In `{study.protocol.suite}` {_so_far(study, many)}, so none counts."
            for study, many, lost in found
        ]
        return (
            f"**{self._lead(found)}.** Here {tables.lever(setting)} and no reuse are compared once more: {SAME} "
            f"(seed {text.listed(list(map(str, seeds)))}). {' '.join(said)}"
        )

    def _found(self, setting: Setting) -> Iterator[tuple[Study, int, Interval | None]]:
        """Of each suite the study, how many episodes are recorded, and the difference where all are."""
        for one in self.studies:
            study = replace(one, settings=(NO_REUSE, setting), seed=one.seed + 1)
            many = int(study.plan()["recorded"].min())
            whole = many == study.episodes
            yield study, many, summary.difference(study.read(), setting, NO_REUSE, self.confidence) if whole else None

    def _lead(self, found: list[tuple[Study, int, Interval | None]]) -> str:
        if not any(many for _, many, _ in found):
            return _LEADS[None]
        losses = [margins.loss(lost, self.margin) if lost else margins.UNDECIDED for *_, lost in found]
        if margins.OUTSIDE in losses:
            return _LEADS[margins.OUTSIDE]
        return _LEADS[margins.INSIDE if {*losses} == {margins.INSIDE} else margins.UNDECIDED]


def _so_far(study: Study, many: int) -> str:
    return f"{many or 'none'} of {text.count(study.episodes, 'episode')} {'is' if many < 2 else 'are'} recorded"
