"""What *Across policies* says: each finding of the book in every policy, and what a further policy would show."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import fill

import pandas as pd

from kvlab.book import tables, text
from kvlab.book.recorded import left_out
from kvlab.evidence import margins, wording
from kvlab.evidence.policies import ALL, FAILS, FEWEST, MOST, OPEN, Pooled, held, pooled
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.share import reuse_share
from kvlab.evidence.stats import Interval, rate_interval
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study

NO_REUSE, BLACK = Setting("none"), Setting("none", seeing="black")
PANEL = 25  # letters of a panel's title in one line
LEARNED, NOT_LEARNED, NOT_SHOWN = "yes", "no", "not shown"


@dataclass(frozen=True)
class Finding:
    """The success of a setting minus that of `other`, and where it lies if the finding holds: on one `side`.

    `side` 1 is above `nothing`, a share, and -1 below, as in `verdicts.Prediction`.
    """

    setting: Setting
    other: Setting = NO_REUSE
    side: int = 1
    nothing: float = 0.0

    def __str__(self) -> str:
        """As a clause: `2 denoising steps: under 5 points lost`."""
        return f"{self.of}: {self.claim}"

    @property
    def of(self) -> str:
        """What it is a finding of."""
        return tables.lever(self.setting)

    @property
    def claim(self) -> str:
        """What it says of that."""
        if self.other != NO_REUSE:
            return f"more solved than {self.than}"
        return f"{'under' if self.side > 0 else 'over'} {-100 * self.nothing:g} points lost"

    @property
    def than(self) -> str:
        """What that is compared with."""
        return "without reuse" if self.other == NO_REUSE else f"with {tables.lever(self.other)}"


Judged = Mapping[Finding, Mapping[str, Prediction]]  # by policy


def stated(under: Sequence[str], over: Sequence[str], better: Mapping[str, str], margin: float) -> list[Finding]:
    """The findings as the parameters state them: settings that lose under or over `margin`, and those that solve more.

    ValueError as in `parse_setting`.
    """
    return [
        *(Finding(parse_setting(one), side=1, nothing=-margin) for one in under),
        *(Finding(parse_setting(one), parse_setting(other)) for one, other in better.items()),
        *(Finding(parse_setting(one), side=-1, nothing=-margin) for one in over),
    ]


def asked(findings: Sequence[Finding]) -> tuple[Setting, ...]:
    """All settings that the findings need, and with which it is decided whether a policy has learned."""
    needed = [setting for finding in findings for setting in (finding.setting, finding.other)]
    return tuple(dict.fromkeys([NO_REUSE, BLACK, *needed]))


def not_recorded(wanted: Mapping[str, Study], studies: Mapping[str, Study]) -> list[str]:
    """Which policies of `wanted` the `studies` lack, and which settings of the others; a sentence each."""
    absent = [f"`{policy}`" for policy in wanted if policy not in studies]
    said = [f"Left out, since not all episodes without reuse are recorded: {text.listed(absent)}."] if absent else []
    for policy, study in studies.items():
        said += [f"`{policy}`: {sentence}" for sentence in left_out([wanted[policy]], [study])]
    return said


def learned(records: Mapping[str, Records], least: float, confidence: float) -> dict[str, str]:
    """By policy: is its success without reuse shown to be over `least` (LEARNED) or under it (NOT_LEARNED)?"""
    found = {}
    for policy, rows in records.items():
        success = successes(rows, NO_REUSE)
        interval = rate_interval(int(success.sum()), len(success), confidence=confidence)
        found[policy] = LEARNED if interval.low > least else NOT_LEARNED if interval.high < least else NOT_SHOWN
    return found


def judge(findings: Sequence[Finding], records: Mapping[str, Records], confidence: float) -> Judged:
    """Each finding as a prediction in every policy of `records` (by policy) that has its settings; without those that
    none has.
    """
    there = {policy: {*recorded(rows)} for policy, rows in records.items()}
    judged = {}
    for finding in findings:
        ready = [policy for policy, settings in there.items() if {finding.setting, finding.other} <= settings]
        effects = {policy: difference(records[policy], finding.setting, finding.other, confidence) for policy in ready}
        judged[finding] = {
            policy: Prediction(effect, finding.side, finding.nothing) for policy, effect in effects.items()
        }
    return {finding: found for finding, found in judged.items() if found}


def headline(judged: Judged) -> str:
    """The title of the figure. `judged`: in the policies that have learned."""
    if not judged:
        return "No policy is shown to have learned its suite"
    complete = all(len(found) == len(_policies(judged)) for found in judged.values())
    where = _every(_policies(judged)) if complete else "every policy where they are recorded"
    return f"{_holding(len(_with(judged, ALL)), len(judged))} in {where}"


def findings(
    judged: Judged,
    states: Mapping[str, str],
    suites: Mapping[str, str],
    records: Mapping[str, Records],
    confidence: float,
) -> list[str]:
    """The chapter's answer. `judged` as in `headline`; `states` of `learned`; `suites` and `records` by policy."""
    left = _unlearned([policy for policy, state in states.items() if state != LEARNED], suites, records)
    if not judged:
        return [f"**{headline(judged)}.** So no finding is judged. {left}"]
    said = [f"**{headline(judged)}.** {_listed(_with(judged, ALL))}".strip()]
    if differs := [_differs(judged, verdict) for verdict in (MOST, FAILS) if _with(judged, verdict)]:
        said.append(" ".join(differs))
    if unclear := _with(judged, OPEN):
        lead = (
            f"{len(unclear)} of {text.count(len(judged), 'finding')} {'are' if len(unclear) > 1 else 'is'} not decided"
        )
        said.append(f"**{lead}.** It is open whether these hold. {_listed(unclear)}")
    return [*said, f"{_further(judged, confidence)} {left}".strip()]


def rows(
    finding: Finding,
    found: Mapping[str, Prediction],
    judged: Judged,
    states: Mapping[str, str],
    suites: Mapping[str, str],
    confidence: float,
) -> tuple[list[str], list[Interval | None], list[str]]:
    """One panel of the figure: labels, intervals and looks of every policy, and last of a further one, if any is known.

    `found` is the finding in all policies, `states` of `learned`.
    """
    labels = [policy if state == LEARNED else f"{policy} (not learned)" for policy, state in states.items()]
    intervals = [found[policy].effect if policy in found else None for policy in states]
    looks = [suites[policy] for policy in states]
    if not any(len(some) >= FEWEST for some in judged.values()):
        return labels, intervals, looks
    over = _pooled(judged.get(finding, {}), confidence)
    return [*labels, "a further policy"], [*intervals, over and over.further], [*looks, "none"]


def wrapped(finding: Finding) -> str:
    """The title of its panel."""
    return f"{fill(finding.of, PANEL)}\n{fill(finding.claim, PANEL)}"


def sentences(judged: Judged, confidence: float) -> str:
    """One sentence for each finding, as a list: what it says, its verdict, where else it fails or is open, its mean."""
    lines = []
    for finding, found in judged.items():
        verdict = held(found)
        few = " where it is recorded" if len(found) < len(_policies(judged)) else ""
        told = f"**{verdict.capitalize()}**: {_where(found)}"
        told = f"**Holds in {_every(found)}{few}**" if verdict == ALL else told
        line = f"- {finding}. {told}."
        if over := _pooled(found, confidence):
            line += (
                f" The mean is {text.difference(over.mean, finding.than)}; in a further policy {_range(over)} points."
            )
        lines.append(line)
    return "\n".join(lines)


def policies(
    records: Mapping[str, Records], studies: Mapping[str, Study], states: Mapping[str, str], confidence: float
) -> pd.DataFrame:
    """A row for each policy: how large it is, what it solves, and whether that counts as learned (`learned`)."""
    rows = {}
    for policy, study in studies.items():
        parameters = sum(one.numel() for one in study.policy.model.parameters())
        rows[policy] = {
            "suite": study.protocol.suite,
            "million parameters": f"{parameters / 1e6:.1f}",
            "no reuse": _solved(records[policy], NO_REUSE),
            "cameras black": _solved(records[policy], BLACK),
            "learned": states[policy],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=None, columns="policy")


def effects(judged: Judged, suites: Mapping[str, str], records: Mapping[str, Records]) -> pd.DataFrame:
    """A row for each finding and policy: how often the setting reuses there, the difference, what the finding does."""
    rows = {
        (str(finding), policy): {
            "suite": suites[policy],
            "replans that reuse": text.percent(reuse_share(records[policy], finding.setting)),
            "points": wording.points(one.effect),
            "finding": "holds" if one.holds else "fails" if one.fails else "open",
        }
        for finding, found in judged.items()
        for policy, one in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=[None, None], columns="finding and policy")


def means(judged: Judged, suites: Mapping[str, str], confidence: float) -> pd.DataFrame:
    """A row for each finding and group of policies that has a mean: all, and those of each suite, if they are fewer."""
    rows = {}
    for finding, found in judged.items():
        groups = {"all": found} | {
            suite: {policy: one for policy, one in found.items() if suites[policy] == suite}
            for suite in sorted({suites[policy] for policy in found})
        }
        for group, some in groups.items():
            if (group == "all" or len(some) < len(found)) and (over := _pooled(some, confidence)):
                rows[str(finding), group] = {
                    "policies": len(some),
                    "mean, points": wording.points(over.mean),
                    "spread": f"{100 * over.spread:.0f}",
                    "a further policy": _range(over),
                }
    table = (
        pd.DataFrame([*rows.values()], pd.MultiIndex.from_tuples(rows, names=[None, None])) if rows else pd.DataFrame()
    )
    return table.rename_axis(columns="finding and suite")


def too_few(judged: Judged) -> str:
    """Why there is no row in `means`."""
    here = text.count(len(_policies(judged)), "policy", "policies")
    return (
        f"A mean over policies and its interval for a further one need at least {FEWEST} policies; here {here} counted."
    )


def _policies(judged: Judged) -> list[str]:
    return list(dict.fromkeys(policy for found in judged.values() for policy in found))


def _every(policies: Collection[str]) -> str:
    return {1: "the one policy", 2: "both policies"}.get(len(policies), f"all {len(policies)} policies")


def _with(judged: Judged, *verdicts: str) -> list[Finding]:
    return [finding for finding, found in judged.items() if held(found) in verdicts]


def _differs(judged: Judged, verdict: str) -> str:
    some = _with(judged, verdict)
    told = "; ".join(f"{finding} ({_where(judged[finding])})" for finding in some)
    lead = verdict if len(some) == 1 else verdict.replace("s in", " in")
    return f"**{text.count(len(some), 'finding')} {lead}.** {told}."


def _listed(some: Sequence[Finding]) -> str:
    """Those of one claim together: `Under 5 points lost: 2 denoising steps; 1 denoising step.`"""
    claims = {
        claim: [finding.of for finding in some if finding.claim == claim] for claim in (one.claim for one in some)
    }
    return " ".join(f"{claim.capitalize()}: {'; '.join(of)}." for claim, of in claims.items())


def _where(found: Mapping[str, Prediction]) -> str:
    """Where a finding holds, fails and is open: the policies that fail are named, and the open ones if it holds."""
    fails = [f"`{policy}`" for policy, one in found.items() if one.fails]
    holds = sum(one.holds for one in found.values())
    unclear = len(found) - holds - len(fails)
    said = [f"holds in {holds} of {len(found)}"]
    said += [f"fails in {text.listed(fails)}"] if fails else []
    said += [f"open in {unclear}"] if unclear else []
    return ", ".join(said)


def _pooled(found: Mapping[str, Prediction], confidence: float) -> Pooled | None:
    """The mean over policies. What a further one would show ends at 100 points, beyond which no difference goes."""
    if over := pooled([one.effect for one in found.values()], confidence):
        ends = {"low": max(-1.0, over.further.low), "high": min(1.0, over.further.high)}
        return replace(over, further=replace(over.further, **ends))
    return None


def _range(over: Pooled) -> str:
    return f"{margins.bound(over.further.low)} to {margins.bound(over.further.high)}"


def _holding(many: int, of: int) -> str:
    return f"{many or 'None'} of {text.count(of, 'finding')} {'holds' if many < 2 else 'hold'}"


def _further(judged: Judged, confidence: float) -> str:
    """Of how many findings the interval of a further policy lies where the finding puts it."""
    known = {finding: over for finding, found in judged.items() if (over := _pooled(found, confidence))}
    if not known:
        return f"**What a further training would give is not known.** {too_few(judged)}"
    sure = [one for one, over in known.items() if Prediction(over.further, one.side, one.nothing).holds]
    lead = f"{len(sure) or 'None'} of {text.count(len(known), 'finding')} would hold in a further policy"
    return f"**{lead}, as far as these tell.** {_listed(sure)}".strip()


def _unlearned(policies: Sequence[str], suites: Mapping[str, str], records: Mapping[str, Records]) -> str:
    """Which policies count in no finding, and what they solve."""
    return " ".join(
        f"`{policy}` is not shown to have learned `{suites[policy]}`, and counts in no finding: without reuse it "
        f"solves {_solved(records[policy], NO_REUSE)}."
        for policy in policies
    )


def _solved(records: Records, setting: Setting) -> str:
    if setting not in recorded(records):
        return "not recorded"
    success = successes(records, setting)
    return f"{int(success.sum())} of {len(success)}"
