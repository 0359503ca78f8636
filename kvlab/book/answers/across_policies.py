"""What *Across policies* says: each finding of the book in every policy, and what a further policy would show.

`counts` are the findings in the policies that have learned (`stated.counted`). A verdict is on further trainings alone
(`stated.again`).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.further import over_policies, too_few
from kvlab.book.answers.stated import (
    LEARNED,
    NO_REUSE,
    Finding,
    Judged,
    Policies,
    again,
    claims,
    conjectures,
    only,
    tested,
)
from kvlab.evidence import wording
from kvlab.evidence.policies import ALL, FAILS, FEWEST, MOST, OPEN, held
from kvlab.evidence.rows import successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.verdicts import Prediction
from kvlab.study.study import Study

SEVERAL = {ALL: "hold in all", MOST: "hold in most", FAILS: "fail in most", OPEN: "are not decided"}
ONE = {verdict: verdict for verdict in SEVERAL} | {OPEN: "is not decided"}


def not_recorded(wanted: Mapping[str, Study], studies: Mapping[str, Study]) -> list[str]:
    """Which policies of `wanted` the `studies` lack, and which settings; a sentence for all that lack the same."""
    absent = [f"`{policy}`" for policy in wanted if policy not in studies]
    said = [f"Left out, since not all episodes without reuse are recorded: {text.listed(absent)}."] if absent else []
    lacking: dict[tuple[str, ...], list[str]] = {}
    for policy, study in studies.items():
        those = tuple(f"`{setting}`" for setting in wanted[policy].settings if setting not in study.settings)
        if those and study.settings == (NO_REUSE,):
            those = ("all settings but no reuse",)
        if those:
            lacking.setdefault(those, []).append(f"`{policy}`")
    return said + [
        f"Left out, since not recorded in full for {text.listed(some)}: {text.listed(those)}."
        for those, some in lacking.items()
    ]


def headline(counts: Judged, policies: Policies) -> str:
    """The title of the figure."""
    if not counts:
        return "No policy is shown to have learned its suite"
    if not policies.further:
        return "No further training is recorded: one policy a suite"
    if not (could := tested(counts, policies)):
        return f"{text.count(len(policies.further), 'further training')}, by which no finding can be judged"
    trainings = text.listed(_by_suite(_ran(could, policies), policies))
    many, alone = len(_with(could, ALL, policies)), len(could) == 1
    ran = "finding holds in all that ran it" if alone else "findings hold in all that ran them"
    return f"{trainings}: {many or 'none'} of {len(could)} {ran}"


def _ran(could: Judged, policies: Policies) -> list[str]:
    """The further trainings that ran any of the findings."""
    return [policy for policy in policies.further if any(policy in found for found in could.values())]


def _by_suite(some: Sequence[str], policies: Policies) -> list[str]:
    """How many of these further trainings each suite has: `4 further trainings of SUITE`, then `2 of SUITE`."""
    (first, many), *others = Counter(policies.suites[policy] for policy in some).items()
    return [f"{text.count(many, 'further training')} of {first}", *(f"{n} of {suite}" for suite, n in others)]


def findings(
    counts: Judged,
    policies: Policies,
    confidence: float,
    advice: str = "",
    advised: Collection[Finding] = (),
) -> list[str]:
    """The chapter's answer.

    `advice` is what it means for the book's recommendation, and `advised` of which findings that has the verdict
    (`across_recommended`).
    """
    lead, left, could = f"**{headline(counts, policies)}.**", _unlearned(policies), tested(counts, policies)
    if not counts:
        return [f"{lead} So no finding is judged. {left}"]
    others = {finding: found for finding, found in could.items() if finding not in advised}
    verdicts = [_verdicts(others, verdict, policies, bool(advised)) for verdict in (MOST, FAILS, OPEN)]
    further = [_further(counts, policies, advised, confidence), left]
    said = [" ".join(filter(None, some)) for some in ([advice], verdicts, further)]
    return [_first(lead, counts, policies), *filter(None, said)]


def beforehand(policies: Policies) -> str:
    """When findings and rules were stated."""
    yet = "" if policies.further else ", of which there is none yet"
    return (
        f"Claims and margins were stated before further policies were recorded{yet}. Two rules are later: verdicts "
        "leave out the first policies, and no mean is taken over two suites."
    )


def verdicts(counts: Judged, policies: Policies) -> pd.DataFrame:
    """A row for each finding: its verdict, and in how many further trainings it holds, by suite.

    So it does in a suite where it is no finding. The last column counts the first policies too.
    """
    made, rows = claims(counts, policies), {}
    for finding, found in (made | conjectures(counts, policies)).items():
        later, everywhere = again(found, policies), again(counts[finding], policies)
        here = {policies.suites[policy] for policy in found}
        where = {
            suite: _holds(_of_suite(later if suite in here else everywhere, suite, policies), suite in here)
            for suite in dict.fromkeys(policies.suites.values())
        }
        verdict = {"verdict": held(later) if later else "not trained again"}
        name = f"{'' if finding in made else 'conjecture: '}{finding}"
        rows[name] = verdict | where | {"with the first": _holds(found)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=None, columns="finding")


def _of_suite(found: Mapping[str, Prediction], suite: str, policies: Policies) -> dict[str, Prediction]:
    return {policy: one for policy, one in found.items() if policies.suites[policy] == suite}


def _holds(found: Mapping[str, Prediction], made: bool = True) -> str:
    """In how many policies a finding holds, and in which it fails; empty where there is no policy."""
    if not found:
        return ""
    said = f"{sum(one.holds for one in found.values())} of {len(found)}{fails_in(found)}".replace("`", "")
    return said if made else f"no finding: {said}"


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


def held_in(found: Mapping[str, Prediction], policies: Policies, *noun: str) -> str:
    """In how many policies of each suite a finding holds; `noun` as of `text.count`: `1 of 2 policies on SUITE`.

    The noun stands with the first suite alone.
    """
    suites = Counter(policies.suites[policy] for policy in found)
    holds = Counter(policies.suites[policy] for policy, one in found.items() if one.holds)
    (first, of), *others = suites.items()
    told = [f"{holds[first]} of {text.count(of, *noun)} on `{first}`"]
    return text.listed([*told, *(f"{holds[suite]} of {many} on `{suite}`" for suite, many in others)])


def _with(judged: Judged, verdict: str, policies: Policies) -> Judged:
    return {finding: found for finding, found in judged.items() if held(again(found, policies)) == verdict}


def _first(lead: str, counts: Judged, policies: Policies) -> str:
    """How many further trainings there are, and which findings hold in all of them; without any, on what all rest."""
    made, could = claims(counts, policies), tested(counts, policies)
    if not policies.further:
        apart = ", and policy and suite cannot be told apart" if len(policies.first) > 1 else ""
        each = text.count(len(made), "finding")
        rest = f"rest{'s' * (len(made) == 1)} on one training a suite"
        return f"{lead} So {each} of other chapters {rest}{apart}. {_listed(made, policies)}".strip()
    said = [lead, *_idle(counts, policies)]
    if could:
        said.append(_listed(_with(could, ALL, policies), policies))
    return " ".join(filter(None, said))


def _idle(counts: Judged, policies: Policies) -> list[str]:
    """Which further trainings have learned and ran no finding."""
    ran = {policy for found in counts.values() for policy in found}
    idle = [f"`{one}`" for one in policies.further if policies.states[one] == LEARNED and one not in ran]
    if not idle:
        return []
    return [
        f"Of {text.listed(idle)} no setting that a finding is about is recorded in full, so that none is judged there."
    ]


def _verdicts(judged: Judged, verdict: str, policies: Policies, others: bool) -> str:
    """The findings with a verdict; nothing where there is none. `others`: of some it is said elsewhere."""
    if not (some := _with(judged, verdict, policies)):
        return ""
    noun = "other finding" if others else "finding"
    lead = f"{text.count(len(some), noun)} {ONE[verdict] if len(some) == 1 else SEVERAL[verdict]}"
    return f"**{lead}.** {_listed(some, policies)}"


def _listed(some: Judged, policies: Policies) -> str:
    """Those of one claim together, with their chapters: `Under 5 points lost: 2 denoising steps (1 of 2) (CHAPTER).`"""
    claims: dict[str, dict[str, list[str]]] = {}
    for finding, found in some.items():
        of = f"{finding.of}{only(found, policies)}{_many(again(found, policies))}"
        claims.setdefault(finding.claim, {}).setdefault(finding.link, []).append(of)
    lists = {
        claim: "; ".join("; ".join(of) + f" ({link})" for link, of in told.items()) for claim, told in claims.items()
    }
    return " ".join(f"{claim.capitalize()}: {told}." for claim, told in lists.items())


def _many(found: Mapping[str, Prediction]) -> str:
    """In how many policies a finding holds, and in which it fails, in brackets; nothing where there is no policy."""
    return f" ({sum(one.holds for one in found.values())} of {len(found)}{fails_in(found)})" if found else ""


def fails_in(found: Mapping[str, Prediction]) -> str:
    fails = [f"`{policy}`" for policy, one in found.items() if one.fails]
    return f", fails in {text.listed(fails)}" if fails else ""


def _further(counts: Judged, policies: Policies, advised: Collection[Finding], confidence: float) -> str:
    """Of how many findings but the `advised` a further policy's range lies where the finding puts it, by suite.

    And of how many it lies on the other side.
    """
    made = claims(counts, policies)
    means = {finding: over_policies(found, policies, confidence) for finding, found in made.items()}
    counted, unknown, foretold = [], [], []
    for suite in policies.first:
        known = {one: over[suite].further for one, over in means.items() if suite in over and one not in advised}
        there = [Prediction(one_range, one.side, one.nothing) for one, one_range in known.items()]
        foretold += there
        if known:
            noun = text.count(len(known), "other finding" if advised else "finding")
            many = sum(one.holds for one in there)
            shown = f"{'are' if many > 1 else 'is'} shown to hold"
            counted.append(
                f"in one of `{suite}` {many or 'none'} of {len(known)}"
                if counted
                else f"In a further policy of `{suite}` {many or 'none'} of {noun} {shown}"
            )
        elif not any(suite in over for over in means.values()):
            unknown.append(f"`{suite}`")
    if not counted:
        return f"**What a further training would give is not known.** {too_few(counts, policies)}" if unknown else ""
    lead = f"**{', '.join(counted)}, the first policies counted.**{_left_open(foretold)}"
    if not unknown:
        return lead
    return f"{lead} Of {text.listed(unknown)} that cannot be judged: it takes {FEWEST} policies that ran a finding."


def _left_open(foretold: Sequence[Prediction]) -> str:
    """Where the ranges of a further policy lie in which a finding is not shown to hold."""
    if not (rest := [one for one in foretold if not one.holds]):
        return ""
    if not (failed := sum(one.fails for one in rest)):
        return " Each other range crosses its margin."
    return (
        f" {failed} of the other {text.count(len(rest), 'range')} {'lies' if failed == 1 else 'lie'} beyond its margin."
    )


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
