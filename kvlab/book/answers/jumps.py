"""Whether an old robot state does harm because its orientation jumps: what *Why reuse fails* predicts and says.

An axis-angle vector jumps, six numbers of the rotation matrix do not. Policies with either are compared by what each
loses of its own success without reuse, on the same episodes.
"""

from collections.abc import Mapping

from kvlab.book import tables, text
from kvlab.evidence import policies, verdicts
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
    """The verdict on CLAIM, each prediction, and how much trainings with jumps differ among themselves.

    By episodes alone CLAIM is neither supported nor refuted: each effect must also be more than a difference of
    trainings.
    """
    if not explained:
        return [f"**That {CLAIM}: not known.** No old robot state is recorded both with jumps and without them."]
    predictions = explained[JUMPS]
    judged = {setting: predictions[_says(setting)] for setting in OLD if _says(setting) in predictions}
    said = [_said(forms, setting, prediction) for setting, prediction in judged.items()]
    said += [f"Where {OLD[one]}, not both are recorded." for one in OLD if one not in judged]
    apart = all(_apart(forms, setting, confidence) for setting in judged)
    verdict = text.verdict(predictions) if apart else verdicts.NOT_SHOWN
    held, failed = (sum(getattr(one, kind) for one in judged.values()) for kind in ("holds", "fails"))
    spread = [_spread(forms, setting, confidence) for setting in judged]
    return [
        f"**That {CLAIM}: {verdict}.** If so, less would be lost without jumps. {' '.join(said)} By these episodes "
        f"the prediction holds in {held or 'none'} of {len(judged)} and fails in {failed or 'none'}. They are of one "
        "training of each form.",
        " ".join(filter(None, spread)) or "How far trainings with jumps differ is not recorded.",
    ]


def _said(forms: Forms, setting: Setting, prediction: Prediction) -> str:
    first = {name: rows for trained in forms.values() for name, rows in [*trained.items()][:1]}
    (vector, numbers), (many, *_) = first, (len(successes(rows, setting)) for rows in first.values())
    k, fresh = ([int(successes(rows, one).sum()) for rows in first.values()] for one in (setting, NO_REUSE))
    return (
        f"Where {OLD[setting]}, `{vector}`, with jumps, solves {k[0]} of {text.count(many, 'episode')} (where nothing "
        f"is old, {fresh[0]}); `{numbers}`, without, {k[1]} ({fresh[1]}). Each counted from its own success where "
        f"nothing is old, the policy without jumps solves {text.difference(prediction.effect, 'the other')}."
    )


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
    """Whether what is lost without jumps is shown to be more, or less, than a further training with jumps may lose."""
    vector, numbers = _by_training(forms, setting, confidence)
    if not (further := policies.pooled([*vector.values()], confidence)):
        return False
    first, *_ = numbers.values()
    return first.high < further.further.low or first.low > further.further.high


def _spread(forms: Forms, setting: Setting, confidence: float) -> str:
    """What every training loses by a setting, and what one more with jumps may; too few are said to be."""
    vector, numbers = _by_training(forms, setting, confidence)
    if not (further := policies.pooled([*vector.values()], confidence)):
        return (
            f"Where {OLD[setting]}, {text.count(len(vector), 'training')} with jumps "
            f"{'is' if len(vector) == 1 else 'are'} recorded: too few to say how far trainings differ."
        )
    lost = [
        text.listed([f"`{name}` {-100 * one.estimate:z.0f}" for name, one in mine.items()])
        for mine in (vector, numbers)
    ]
    apart = _apart(forms, setting, confidence)
    return (
        f"Where {OLD[setting]}, the points lost are with jumps {lost[0]}; without jumps, {lost[1]}. By the former, a "
        f"further training with jumps would solve {text.difference(further.further, 'where nothing is old')}. What is "
        f"lost without jumps, with its own interval, {'lies outside' if apart else 'reaches into'} that, so it "
        f"{'is more than a difference of trainings' if apart else 'may be a difference of trainings alone'}."
    )
