"""How the claim of a page that recommends a setting stands in the further trainings of *Across policies*."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kvlab.book import text
from kvlab.book.answers.stated import NO_REUSE, Finding, Policies, counted, judge, learned
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.study.settings import Setting
from kvlab.study.study import Study

AGAIN = {  # the further trainings of each suite in data/checkpoints, as that chapter has them
    "libero_spatial": ("mini_spatial_seed1", "mini_spatial_seed2", "mini_spatial_6d", "mini_spatial_half"),
    "libero_10": ("mini_libero_10_seed1", "mini_libero_10_6d"),
}
LEARNED = 0.2  # a policy counts if it is shown to solve more without reuse, as there
LINK = "[Across policies](across_policies.ipynb)"


@dataclass(frozen=True)
class Trained:
    """In how many further trainings of one suite, of those that ran a setting, it is shown to lose under a margin.

    `over`: in how many it is shown to lose over it.
    """

    suite: str
    under: int
    over: int
    many: int

    def said(self) -> str:
        """As in `3 of 4 on SUITE`."""
        return f"{self.under or 'none'} of {self.many} on `{self.suite}`"


def trained(studies: Sequence[Study], setting: Setting, margin: float, confidence: float) -> list[Trained]:
    """One for each of `studies`, one a suite, that is of a first policy; of other policies there is nothing to say.

    A further training counts where all episodes of the setting and of no reuse are recorded.
    """
    mine = [one for one in studies if one.checkpoint.resolve() == CHECKPOINTS.get(one.protocol.suite, DATA).resolve()]
    told = []
    for study in mine:
        found = _judged(study, Finding(setting, nothing=-margin), confidence)
        under, over = (sum(getattr(one, kind) for one in found) for kind in ("holds", "fails"))
        told.append(Trained(study.protocol.suite, under, over, len(found)))
    return told


def shown(studies: Sequence[Study], setting: Setting, margin: float, confidence: float) -> str:
    """Which further trainings show that the setting loses under `margin` too, and how many that it loses over it.

    A sentence, for after one that says so of the first; empty where `trained` says nothing. `studies` as there.
    """
    found = trained(studies, setting, margin, confidence)
    if not (ran := [one for one in found if one.many]):
        return f"No further training ran it ({LINK})." * bool(found)
    over, points = sum(one.over for one in ran), f"{100 * margin:.0f} points"
    without = [f"`{one.suite}`" for one in found if not one.many]
    none = f"; on {text.listed(without)} none ran it" if without else ""
    which = text.listed([one.said() for one in ran])
    return f"Of further trainings {which} show it, {over or 'none'} a loss over {points} ({LINK}){none}."


def _judged(study: Study, finding: Finding, confidence: float) -> list:
    """The finding as a prediction in each further training that is recorded in full and has learned."""
    suite, records = study.protocol.suite, {}
    for name in AGAIN.get(suite, ()):
        again = replace(study, checkpoint=DATA / "checkpoints" / name, settings=(NO_REUSE, finding.setting))
        if not again.missing():
            records[name] = again.read()
    policies = Policies(records, dict.fromkeys(records, suite), learned(records, LEARNED, confidence))
    return [*counted(judge([finding], policies, confidence), policies).get(finding, {}).values()]
