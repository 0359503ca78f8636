"""How the claim of a page that recommends a setting stands in the further trainings of *Across policies*."""

from collections.abc import Sequence
from dataclasses import replace

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


def clause(studies: Sequence[Study], setting: Setting, margin: float, confidence: float) -> str:
    """In how many further trainings the setting is shown to lose under and over `margin`, in a sentence.

    `studies`, one a suite, are of the first policies; where they are of other ones there is nothing to say. A further
    training counts where all episodes of the setting and of no reuse are recorded.
    """
    mine = [one for one in studies if one.checkpoint.resolve() == CHECKPOINTS.get(one.protocol.suite, DATA).resolve()]
    if not mine:
        return ""
    told, points = {}, f"{100 * margin:.0f} points"
    for study in mine:
        found = _judged(study, Finding(setting, nothing=-margin), confidence)
        holds, fails = (sum(getattr(one, kind) for one in found) for kind in ("holds", "fails"))
        many = text.count(len(found), "further training")
        if found:
            told[study.protocol.suite] = f"in {holds or 'none'} of {many} on `{study.protocol.suite}`", fails
    if not told:
        return f"No further training is recorded with it ({LINK})."
    where, over = text.listed([said for said, _ in told.values()]), sum(fails for _, fails in told.values())
    without = [f"`{study.protocol.suite}`" for study in mine if study.protocol.suite not in told]
    none = f"; on {text.listed(without)} there is none yet" if without else ""
    return f"{where[0].upper()}{where[1:]} it is shown to lose under {points}, in {over or 'none'} over ({LINK}){none}."


def _judged(study: Study, finding: Finding, confidence: float) -> list:
    """The finding as a prediction in each further training that is recorded in full and has learned."""
    suite, records = study.protocol.suite, {}
    for name in AGAIN.get(suite, ()):
        again = replace(study, checkpoint=DATA / "checkpoints" / name, settings=(NO_REUSE, finding.setting))
        if not again.missing():
            records[name] = again.read()
    policies = Policies(records, dict.fromkeys(records, suite), learned(records, LEARNED, confidence))
    return [*counted(judge([finding], policies, confidence), policies).get(finding, {}).values()]
