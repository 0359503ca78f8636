"""What *Across policies* says of what the book recommends, and of what would be cheaper: one verdict each."""

from collections.abc import Mapping

from kvlab.book import tables, text
from kvlab.book.answers.across_policies import fails_in, held_in
from kvlab.book.answers.further import in_range, over_policies
from kvlab.book.answers.second_seed import Again, Choice
from kvlab.book.answers.stated import NO_REUSE, Finding, Judged, Policies, again
from kvlab.evidence.policies import held
from kvlab.evidence.verdicts import Prediction


def advised(choice: Choice | None, counts: Judged) -> list[Finding]:
    """Of `counts` (`stated.counted`) what is said of the settings of `choice`: that they lose under the margin."""
    settings = [one.setting for one in choice.all] if choice else []
    return [claim for claim in counts if claim.other == NO_REUSE and claim.side == 1 and claim.setting in settings]


def advice(choice: Choice | None, counts: Judged, policies: Policies, margin: float, confidence: float) -> str:
    """Whether further trainings show what a setting was chosen for, what is recommended first; nothing without any.

    `counts` as in `stated.counted`.
    """
    if choice is None:
        return ""
    found = {claim.setting: counts[claim] for claim in advised(choice, counts)}
    said = [_said(one, choice, found.get(one.setting, {}), policies, margin) for one in choice.all]
    first, *cheaper = said
    return " ".join([first, *_means(found.get(choice.taken.setting, {}), policies, confidence), *cheaper])


def _said(one: Again, choice: Choice, found: Mapping[str, Prediction], policies: Policies, margin: float) -> str:
    name, points = tables.lever(one.setting), f"{100 * margin:g} points"
    role = "which the book recommends" if one is choice.taken else "cheaper, which a second seed does not confirm"
    if not (later := again(found, policies)):
        return f"**{name}, {role}: not trained again.** No further training ran it."
    lacking = [f"`{suite}`" for suite in policies.first if suite not in {policies.suites[policy] for policy in later}]
    none = f" On {text.listed(lacking)} none ran it." if lacking else ""
    larger = fails_in(later) or ", and fails in none"
    return (
        f"**{name}, {role}: {held(later)}.** That it loses under {points}, if any, holds in "
        f"{held_in(later, policies, 'further training')}{larger}.{none}"
    )


def _means(found: Mapping[str, Prediction], policies: Policies, confidence: float) -> list[str]:
    """What is expected of a further policy of each suite."""
    over = over_policies(found, policies, confidence)
    told = [f"{in_range(over[suite])} points on `{suite}`" for suite in policies.first if suite in over]
    said = f"The range expected of a further policy of the suite, the first counted, is {text.listed(told)}."
    return [said] if told else []
