"""Whether an old robot state does harm because its orientation jumps: what *Why reuse fails* predicts and says.

An axis-angle vector jumps, six numbers of the rotation matrix do not. Policies with either are compared by what each
loses of its own success without reuse, on the same episodes.
"""

from collections.abc import Mapping

import pandas as pd

from kvlab.book import tables, text
from kvlab.evidence import policies, verdicts, wording
from kvlab.evidence.rows import gains, recorded, successes
from kvlab.evidence.stats import Interval
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.pi0.rotation import ROTATIONS
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study

NO_REUSE = Setting("none")
OLD = {
    parse_setting("full when every(2)"): "everything is kept at every second replan",
    parse_setting("none seeing late(state, 1)"): "the robot state is a replan late",
}
JUMPS = "the orientation's jumps make an old robot state harmful, by the episodes of one training of each form"
CLAIM = "the orientation's jumps make an old robot state harmful"
Forms = Mapping[str, Mapping[str, Records]]  # by ROTATIONS and policy; the first policy of each is judged


def by_form(studies: Mapping[str, Study]) -> Forms:
    """What is recorded of policies, by name, under the form in which each takes the orientation."""
    return {
        form: {name: one.read() for name, one in studies.items() if one.policy.config.rotation == form}
        for form in ROTATIONS
    }


def explanations(forms: Forms, confidence: float = 0.95) -> dict[str, dict[str, Prediction]]:
    """That the policy without jumps loses fewer points, for each of OLD that is recorded of both; empty without any.

    Each effect is the mean over episodes of what the policy without jumps gains by a setting minus what the other does.
    """
    if not all(forms.values()):
        return {}
    vector, numbers = (next(iter(trained.values())) for trained in forms.values())
    both = [one for one in OLD if one in recorded(vector) and one in recorded(numbers)]
    more = {_says(one): gains(numbers, one, NO_REUSE) - gains(vector, one, NO_REUSE) for one in both}
    return {JUMPS: verdicts.above_zero(more, confidence)} if more else {}


def _says(setting: Setting) -> str:
    return f"{tables.lever(setting)}: fewer points are lost without jumps"


def findings(forms: Forms, explained: Mapping[str, Mapping[str, Prediction]], confidence: float = 0.95) -> list[str]:
    """The verdict on CLAIM, and why it is not that of the episodes alone, where it is not.

    By episodes alone CLAIM is neither supported nor refuted: each effect must also be shown to be more than a
    difference of trainings.
    """
    if not explained:
        return [f"**That {CLAIM}: not known.** No old robot state is recorded both with jumps and without them."]
    predictions = explained[JUMPS]
    judged = [setting for setting in OLD if _says(setting) in predictions]
    said = [f"Where {OLD[one]}, not both are recorded." for one in OLD if one not in judged]
    if all(_apart(forms, setting, confidence) for setting in judged):
        return [" ".join([f"**That {CLAIM}: {text.verdict(predictions)}.**", *said])]
    alone = (
        f"By the episodes of one training of each form it would be {verdicts.verdict(predictions)}; trainings by "
        "themselves may differ as much."
    )
    return [" ".join([f"**That {CLAIM}: {verdicts.NOT_SHOWN}.** {alone}", *said])]


def table(forms: Forms, explained: Mapping[str, Mapping[str, Prediction]], confidence: float = 0.95) -> pd.DataFrame:
    """What each training solves where nothing is old and by each of OLD that is judged, and the points between.

    And, where trainings with jumps suffice to say, those of a further one.
    """
    judged = [one for one in OLD if _says(one) in explained.get(JUMPS, {})]
    found = []
    for setting in judged:
        each = _by_training(forms, setting, confidence)
        for form, gained in zip(forms, each, strict=True):
            for name, points in gained.items():
                old, fresh = (int(successes(forms[form][name], one).sum()) for one in (setting, NO_REUSE))
                row = {"setting": tables.lever(setting), "policy": name, "jumps": _jumps(form), "nothing old": fresh}
                found.append(row | {"successes": old, "points": wording.points(points)})
        if further := policies.pooled([*each[0].values()], confidence):
            row = {"setting": tables.lever(setting), "policy": "a further training", "jumps": _jumps(next(iter(forms)))}
            found.append(row | {"nothing old": "", "successes": "", "points": wording.points(further.further)})
    return tables.headed(found)


def _jumps(form: str) -> str:
    return "with" if form == ROTATIONS[0] else "without"


def _by_training(forms: Forms, setting: Setting, confidence: float) -> list[dict[str, Interval]]:
    """What each training with jumps, and each without, gains by a setting."""
    return [
        {
            name: difference(rows, setting, NO_REUSE, confidence)
            for name, rows in trained.items()
            if setting in recorded(rows)
        }
        for trained in forms.values()
    ]


def _apart(forms: Forms, setting: Setting, confidence: float) -> bool:
    """Whether what is lost without jumps is shown to be more, or less, than a further training with jumps may lose.

    It is not where too few trainings with jumps are recorded to say.
    """
    vector, numbers = _by_training(forms, setting, confidence)
    if not (further := policies.pooled([*vector.values()], confidence)):
        return False
    first, *_ = numbers.values()
    return first.high < further.further.low or first.low > further.further.high
