"""The findings that *Across policies* puts to every policy, which of them the book makes, and where each holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from kvlab.book import tables, text
from kvlab.book.contents import chapters, title
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.stats import rate_interval
from kvlab.evidence.summary import difference
from kvlab.evidence.verdicts import Prediction
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting

NO_REUSE, BLACK = Setting("none"), Setting("none", seeing="black")
LEARNED, NOT_LEARNED, NOT_SHOWN = "yes", "no", "not shown"
STATED = re.compile(r"(.+) (?:loses (under|over) the margin|beats (.+))")


@dataclass(frozen=True)
class Finding:
    """The success of a setting minus that of `other`, and where it lies if the finding holds: on one `side`.

    `side` 1 is above `nothing`, a share, and -1 below, as in `verdicts.Prediction`. `chapter`, by the
    name of its file, is about the finding: it makes it, or leaves it open.
    """

    setting: Setting
    other: Setting = NO_REUSE
    side: int = 1
    nothing: float = 0.0
    chapter: str = "buy_instead"

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

    @property
    def link(self) -> str:
        """To its chapter."""
        (source,) = (source for source in chapters() if source.stem == self.chapter)
        return f"[{title(source).split(':')[0]}]({self.chapter}.ipynb)"


Judged = Mapping[Finding, Mapping[str, Prediction]]  # by policy


@dataclass(frozen=True)
class Policies:
    """All that are recorded, by name: rows, suites, and whether each has learned.

    Other chapters read the first of each suite.
    """

    records: Mapping[str, Records]
    suites: Mapping[str, str]
    states: Mapping[str, str]

    @cached_property
    def first(self) -> dict[str, str]:
        """The first policy of each suite."""
        return {self.suites[policy]: policy for policy in reversed([*self.records])}

    @property
    def further(self) -> list[str]:
        """All but the first of each suite."""
        return [policy for policy in self.records if policy not in self.first.values()]


def stated(findings: Mapping[str, Sequence[str]], margin: float) -> list[Finding]:
    """The findings as a parameter states them, by chapter: what loses under or over the `margin`, or beats another.

    ValueError: a chapter or a finding that there is not, and as in `parse_setting`.
    """
    known, found = [source.stem for source in chapters()], []
    for chapter, texts in findings.items():
        if chapter not in known:
            raise ValueError(f"no chapter is called {chapter!r}; there are {', '.join(known)}")
        for one in texts:
            if not (told := STATED.fullmatch(one)):
                raise ValueError(
                    f"a finding is written `SETTING loses under the margin`, `SETTING loses over the margin` or "
                    f"`SETTING beats SETTING`; got {one!r}"
                )
            setting = parse_setting(told[1])
            if told[3]:
                found.append(Finding(setting, parse_setting(told[3]), chapter=chapter))
            else:
                found.append(Finding(setting, NO_REUSE, 1 if told[2] == "under" else -1, -margin, chapter))
    return found


def asked(findings: Sequence[Finding]) -> tuple[Setting, ...]:
    """All settings that the findings need, and with which it is decided whether a policy has learned."""
    needed = [setting for finding in findings for setting in (finding.setting, finding.other)]
    return tuple(dict.fromkeys([NO_REUSE, BLACK, *needed]))


def learned(records: Mapping[str, Records], least: float, confidence: float) -> dict[str, str]:
    """By policy: is its success without reuse shown to be over `least` (LEARNED) or under it (NOT_LEARNED)?"""
    found = {}
    for policy, rows in records.items():
        success = successes(rows, NO_REUSE)
        interval = rate_interval(int(success.sum()), len(success), confidence=confidence)
        found[policy] = LEARNED if interval.low > least else NOT_LEARNED if interval.high < least else NOT_SHOWN
    return found


def judge(findings: Sequence[Finding], policies: Policies, confidence: float) -> Judged:
    """Each finding as a prediction in every policy that has its settings; without those that none has."""
    there = {policy: {*recorded(rows)} for policy, rows in policies.records.items()}
    judged = {}
    for finding in findings:
        ready = [policy for policy, settings in there.items() if {finding.setting, finding.other} <= settings]
        effects = {
            policy: difference(policies.records[policy], finding.setting, finding.other, confidence) for policy in ready
        }
        judged[finding] = {
            policy: Prediction(effect, finding.side, finding.nothing) for policy, effect in effects.items()
        }
    return {finding: found for finding, found in judged.items() if found}


def counted(everywhere: Judged, policies: Policies) -> Judged:
    """The same in the policies that have learned, where there are any."""
    kept = {
        finding: {policy: one for policy, one in found.items() if policies.states[policy] == LEARNED}
        for finding, found in everywhere.items()
    }
    return {finding: found for finding, found in kept.items() if found}


def claims(counts: Judged, policies: Policies) -> Judged:
    """The findings that the book makes, in the policies of the suites in which it does: the first policy shows it."""
    made = {finding: [policies.suites[one] for one in _shown(found, policies)] for finding, found in counts.items()}
    return {
        finding: {policy: one for policy, one in counts[finding].items() if policies.suites[policy] in suites}
        for finding, suites in made.items()
        if suites
    }


def conjectures(counts: Judged, policies: Policies) -> Judged:
    """The others: in the first policies, and so in the book, they are not shown."""
    return {finding: found for finding, found in counts.items() if not _shown(found, policies)}


def again(found: Mapping[str, Prediction], policies: Policies) -> dict[str, Prediction]:
    """A finding in further trainings alone: of the first policies it was made, so that they cannot refute it."""
    return {policy: one for policy, one in found.items() if policy in policies.further}


def tested(counts: Judged, policies: Policies) -> Judged:
    """Of the `claims` those that a further training could refute, in all policies (`again` has the further ones)."""
    return {finding: found for finding, found in claims(counts, policies).items() if again(found, policies)}


def only(found: Mapping[str, Prediction], policies: Policies) -> str:
    """In which suites a finding is one, where that is not in all."""
    suites = dict.fromkeys(policies.suites[policy] for policy in found)
    return "" if len(suites) in (0, len(policies.first)) else f", in {text.listed([f'`{suite}`' for suite in suites])}"


def _shown(found: Mapping[str, Prediction], policies: Policies) -> list[str]:
    """The first policies in which a finding holds."""
    return [policy for policy in policies.first.values() if policy in found and found[policy].holds]
