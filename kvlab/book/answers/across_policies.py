"""What *Across policies* says: each finding of the book in every policy, and what a further policy would show.

`counts` are the findings in the policies that have learned (`stated.counted`).
"""

from collections.abc import Mapping
from textwrap import fill

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.further import in_range, over_policies, too_few
from kvlab.book.answers.stated import LEARNED, NO_REUSE, Finding, Judged, Policies, claims, conjectures, tested
from kvlab.book.recorded import left_out
from kvlab.evidence import wording
from kvlab.evidence.policies import ALL, FAILS, FEWEST, MOST, OPEN, Pooled, held
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction
from kvlab.study.study import Study

PANEL = 26  # letters of a panel's title in one line
NEAR = "\N{NO-BREAK SPACE}≥\N{NO-BREAK SPACE}"  # what a limit belongs to stands in its line


def not_recorded(wanted: Mapping[str, Study], studies: Mapping[str, Study]) -> list[str]:
    """Which policies of `wanted` the `studies` lack, and which settings of the others; a sentence each."""
    absent = [f"`{policy}`" for policy in wanted if policy not in studies]
    said = [f"Left out, since not all episodes without reuse are recorded: {text.listed(absent)}."] if absent else []
    for policy, study in studies.items():
        said += [f"`{policy}`: {sentence}" for sentence in left_out([wanted[policy]], [study])]
    return said


def headline(counts: Judged, policies: Policies) -> str:
    """The title of the figure."""
    if not counts:
        return "No policy is shown to have learned its suite"
    if not policies.further:
        return "No further training is recorded: one policy a suite"
    further = text.count(len(policies.further), "further training")
    if not (could := tested(counts, policies)):
        return f"{further}, by which no finding can be judged"
    return f"{further}: {_holding(could, 'finding')}"


def findings(counts: Judged, policies: Policies, confidence: float) -> list[str]:
    """The chapter's answer."""
    lead, left, could = f"**{headline(counts, policies)}.**", _unlearned(policies), tested(counts, policies)
    if not counts:
        return [f"{lead} So no finding is judged. {left}"]
    differs = [_differs(could, verdict, policies) for verdict in (MOST, FAILS)]
    unclear = [_undecided(could, policies), _guessed(conjectures(counts, policies), policies)]
    last = [_further(counts, policies, confidence), left]
    said = [" ".join(filter(None, some)) for some in (differs, unclear, last)]
    return [_first(lead, counts, policies), *filter(None, said)]


def drawn(everywhere: Judged, counts: Judged, policies: Policies) -> list[Finding]:
    """The findings that have a panel in the figure: the claims; where no policy counts, all."""
    return [*claims(counts, policies)] or [*everywhere]


def rows(
    finding: Finding, found: Mapping[str, Prediction], counts: Judged, policies: Policies, confidence: float
) -> tuple[list[str], list[Interval | None], list[str], Pooled | None]:
    """One panel of the figure: labels, intervals and looks of every policy, and what is known of a further one.

    `found` is the finding in all policies. A label is the policy's name without `mini_`, with a * where it does not
    count. The last row is for the mean, where any finding has one.
    """
    made = claims(counts, policies)
    labels = [policy.removeprefix("mini_") + "*" * (state != LEARNED) for policy, state in policies.states.items()]
    intervals = [found[policy].effect if policy in found else None for policy in policies.states]
    looks = [policies.suites[policy] for policy in policies.states]
    if any(len(some) >= FEWEST for some in made.values()):
        labels, intervals, looks = [*labels, "mean, further"], [*intervals, None], [*looks, "none"]
    return labels, intervals, looks, over_policies(made.get(finding, {}), confidence)


def wrapped(finding: Finding, counts: Judged, policies: Policies) -> str:
    """The title of its panel."""
    only = _only(claims(counts, policies).get(finding, {}), policies).replace("`", "")
    of, claim = (fill(words.replace(" ≥ ", NEAR), PANEL) for words in (finding.of, finding.claim + only))
    return f"{of}\n{claim}"


def below(policies: Policies) -> str:
    """What stands below the figure."""
    star = "" if {*policies.states.values()} == {LEARNED} else "\n* not shown to have learned, counts in no finding"
    return f"points, compared with no reuse or what is named{star}"


def beforehand(policies: Policies) -> str:
    """When findings and rules were stated."""
    yet = "" if policies.further else ", of which there is none yet"
    return f"They and the rules were stated before further policies were recorded{yet}."


def sentences(counts: Judged, policies: Policies, confidence: float) -> str:
    """One sentence for each finding, as a list: what it says, who says it, its verdict, where it fails, its mean."""
    made, lines = claims(counts, policies), []
    for finding, found in (made | conjectures(counts, policies)).items():
        lead = "" if finding in made else "Conjecture: "
        line = f"- {lead}{finding}{_only(found, policies)} ({finding.link}). {_verdict(found, policies)}"
        if over := over_policies(found, confidence):
            line += (
                f" The mean is {text.difference(over.mean, finding.than)}; in a further policy {in_range(over)} points."
            )
        lines.append(line)
    return "\n".join(lines)


def effects(everywhere: Judged, policies: Policies) -> pd.DataFrame:
    """A row for each finding and policy: how often the setting reuses there, the difference, what the finding does."""
    rows = {
        (str(finding), policy): {
            "suite": policies.suites[policy],
            "replans that reuse": text.percent(reuse_share(policies.records[policy], finding.setting)),
            "points": wording.points(one.effect),
            "finding": "holds" if one.holds else "fails" if one.fails else "open",
        }
        for finding, found in everywhere.items()
        for policy, one in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=[None, None], columns="finding and policy")


def _with(judged: Judged, verdict: str) -> Judged:
    return {finding: found for finding, found in judged.items() if held(found) == verdict}


def _first(lead: str, counts: Judged, policies: Policies) -> str:
    """How many further trainings there are, and which findings hold in all policies; without any, on what all rest."""
    if not policies.further:
        made = claims(counts, policies)
        apart = ", and policy and suite cannot be told apart" if len(policies.first) > 1 else ""
        each = text.count(len(made), "finding")
        rest = f"rest{'s' * (len(made) == 1)} on one training a suite"
        return f"{lead} So {each} of other chapters {rest}{apart}. {_listed(made, policies)}".strip()
    new, many = [policies.suites[policy] for policy in policies.further], len(policies.further)
    where = text.listed([f"{new.count(suite)} on `{suite}`" for suite in dict.fromkeys(new)])
    held_in_all = _listed(_with(tested(counts, policies), ALL), policies)
    return f"{lead} The further training{'s are' if many > 1 else ' is'}: {where}. {held_in_all}".strip()


def _differs(judged: Judged, verdict: str, policies: Policies) -> str:
    """The findings with a verdict, each with where it holds and fails; nothing where there is none."""
    if not (some := _with(judged, verdict)):
        return ""
    told = "; ".join(f"{finding} ({finding.link}: {_where(found, policies)})" for finding, found in some.items())
    lead = verdict if len(some) == 1 else verdict.replace("s in", " in")
    return f"**{text.count(len(some), 'finding')} {lead}.** {told}."


def _undecided(judged: Judged, policies: Policies) -> str:
    """Which findings the policies leave open; nothing where there is none."""
    if not (some := _with(judged, OPEN)):
        return ""
    lead = f"{len(some)} of {text.count(len(judged), 'finding')} {'are' if len(some) > 1 else 'is'} not decided"
    return f"**{lead}.** It is open whether these hold. {_listed(some, policies)}"


def _guessed(judged: Judged, policies: Policies) -> str:
    """What became of the conjectures; nothing where there is none."""
    if not judged:
        return ""
    return f"**{_holding(judged, 'conjecture')}.** No chapter says that these hold. {_listed(judged, policies)}"


def _listed(some: Judged, policies: Policies) -> str:
    """Those of one claim together, with their chapters: `Under 5 points lost: 2 denoising steps (CHAPTER).`"""
    claims: dict[str, dict[str, list[str]]] = {}
    for finding, found in some.items():
        of = f"{finding.of}{_only(found, policies)}"
        claims.setdefault(finding.claim, {}).setdefault(finding.link, []).append(of)
    lists = {
        claim: "; ".join("; ".join(of) + f" ({link})" for link, of in told.items()) for claim, told in claims.items()
    }
    return " ".join(f"{claim.capitalize()}: {told}." for claim, told in lists.items())


def _only(found: Mapping[str, Prediction], policies: Policies) -> str:
    """In which suites a finding is one, where that is not in all."""
    suites = dict.fromkeys(policies.suites[policy] for policy in found)
    return "" if len(suites) in (0, len(policies.first)) else f", in {text.listed([f'`{suite}`' for suite in suites])}"


def _verdict(found: Mapping[str, Prediction], policies: Policies) -> str:
    alone = found.keys().isdisjoint(policies.further)
    if alone and all(one.holds for one in found.values()):
        return "**Not trained again.**"
    verdict = held(found)
    if verdict == ALL:
        return f"**Holds in {'both' if len(found) == 2 else f'all {len(found)}'} policies.**"
    return f"**{verdict.capitalize()}**: {_where(found, policies)}."


def _where(found: Mapping[str, Prediction], policies: Policies) -> str:
    """In how many policies of each suite a finding holds, and in which it fails."""
    fails = [f"`{policy}`" for policy, one in found.items() if one.fails]
    each = []
    for suite in dict.fromkeys(policies.suites[policy] for policy in found):
        here = [one.holds for policy, one in found.items() if policies.suites[policy] == suite]
        each.append(f"{sum(here)} of {len(here)} on `{suite}`")
    return f"holds in {text.listed(each)}" + (f", fails in {text.listed(fails)}" if fails else "")


def _holding(judged: Judged, noun: str) -> str:
    many = len(_with(judged, ALL))
    return f"{many or 'None'} of {text.count(len(judged), noun)} {'holds' if many < 2 else 'hold'} in all policies"


def _further(counts: Judged, policies: Policies, confidence: float) -> str:
    """Of how many findings the interval of a further policy lies where the finding puts it."""
    made = claims(counts, policies)
    known = {finding: over for finding, found in made.items() if (over := over_policies(found, confidence))}
    if not known:
        return f"**What a further training would give is not known.** {too_few(counts)}"
    sure = {one: made[one] for one, over in known.items() if Prediction(over.further, one.side, one.nothing).holds}
    lead = f"{len(sure) or 'None'} of {text.count(len(known), 'finding')} would hold in a further policy"
    return f"**{lead}, as far as these tell.** {_listed(sure, policies)}".strip()


def _unlearned(policies: Policies) -> str:
    """Which policies count in no finding, and what they solve."""
    said = []
    for policy in [policy for policy, state in policies.states.items() if state != LEARNED]:
        solved = successes(policies.records[policy], NO_REUSE)
        said.append(
            f"`{policy}` is not shown to have learned `{policies.suites[policy]}`, and counts in no finding: without "
            f"reuse it solves {int(solved.sum())} of {len(solved)}."
        )
    return " ".join(said)
