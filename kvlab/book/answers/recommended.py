"""What *Across policies* says of the setting that the book recommends."""

from collections.abc import Mapping
from dataclasses import replace

from kvlab.book import tables, text
from kvlab.book.answers import buy_instead
from kvlab.book.answers.across_policies import held_in
from kvlab.book.answers.further import in_range, over_policies
from kvlab.book.answers.stated import NO_REUSE, Judged, Policies, again
from kvlab.book.recorded import in_full
from kvlab.evidence import frontier, margins
from kvlab.evidence.policies import Pooled
from kvlab.evidence.verdicts import Prediction
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from kvlab.study.times import Latency


def recommended(first: Mapping[str, Study], times: Latency, margin: float, confidence: float) -> Setting | None:
    """What the start page recommends, if it does: by the first policy of each suite, among the settings it compares."""
    asked = (NO_REUSE, *map(parse_setting, buy_instead.FIRST))
    studies = {suite: in_full(replace(study, settings=asked)) for suite, study in first.items()}
    shared = [setting for setting in asked if all(setting in study.settings for study in studies.values())]
    records = {suite: study.read() for suite, study in studies.items()}
    bought = frontier.within_margin(records, shared, NO_REUSE, {times.name: times}, margin, confidence)
    return buy_instead.recommended(bought)


def advice(setting: Setting | None, counts: Judged, policies: Policies, margin: float, confidence: float) -> str:
    """Whether further trainings confirm a recommended setting, and what to do then; nothing where there is none.

    `counts` as in `stated.counted`.
    """
    if setting is None:
        return ""
    name, points = tables.lever(setting), f"{100 * margin:g} points"
    of_it = (setting, NO_REUSE, 1)
    found = next((one for claim, one in counts.items() if (claim.setting, claim.other, claim.side) == of_it), {})
    later = again(found, policies)
    if not later:
        return (
            f"**No further training ran what the book recommends, {name}.** That it loses under {points} rests on one "
            "training a suite. So try it on episodes of your own policy first."
        )
    unsure = {policy: one.effect for policy, one in later.items() if not one.holds}
    said = [f"It is shown to lose under {points} in {held_in(later, policies, 'further training')}."]
    said += [
        f"In `{policy}` {margins.loss_words(effect, margin)}: {text.difference(effect, 'without reuse', margin)}."
        for policy, effect in unsure.items()
    ]
    if unsure and not any(one.fails for one in later.values()):
        said.append(f"Nor is it contradicted: in none is it shown to lose over {points}.")
    ran = {policies.suites[policy] for policy in later}
    if lacking := [f"`{suite}`" for suite in policies.first if suite not in ran]:
        said.append(f"On {text.listed(lacking)} no further training ran it.")
    said += [
        f"In a further policy of `{suite}` the difference is expected within {in_range(over)} points, as far as these "
        f"tell: {_expected(over, margin)}."
        for suite, over in over_policies(found, policies, confidence).items()
    ]
    if unsure:
        said.append("So it is a candidate, to be tried on episodes of your own policy before you take it.")
    return f"**{_lead(later)} what the book recommends, {name}.** {' '.join(said)}"


def _lead(later: Mapping[str, Prediction]) -> str:
    holds, fails = (sum(getattr(one, kind) for one in later.values()) for kind in ("holds", "fails"))
    if fails:
        return "Further training contradicts"
    every = "Every further training confirms" if len(later) > 1 else "The further training confirms"
    return (
        every
        if holds == len(later)
        else "Not every further training confirms"
        if holds
        else "No further training confirms"
    )


def _expected(over: Pooled, margin: float) -> str:
    """What the range of a further policy says of the margin."""
    there, points = Prediction(over.further, 1, -margin), f"{100 * margin:g} points"
    if there.holds:
        return f"a loss under {points}, if any"
    return f"a loss over {points}" if there.fails else f"whether over {points} are lost is open"
