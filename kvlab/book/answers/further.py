"""What *Across policies* says of a further policy, and of what the suite does and what the training.

`counts` are the findings in the policies that have learned (`stated.counted`).
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.stated import Judged, Policies
from kvlab.evidence import margins, wording
from kvlab.evidence.policies import FEWEST, Pooled, pooled
from kvlab.evidence.stats import Interval, independent_difference
from kvlab.evidence.verdicts import Prediction


def over_policies(found: Mapping[str, Prediction], confidence: float) -> Pooled | None:
    """The mean over policies. What a further one would show ends at 100 points, beyond which no difference goes."""
    if over := pooled([one.effect for one in found.values()], confidence):
        ends = {"low": max(-1.0, over.further.low), "high": min(1.0, over.further.high)}
        return replace(over, further=replace(over.further, **ends))
    return None


def in_range(over: Pooled) -> str:
    """Where the effect in a further policy is expected, in points."""
    return f"{margins.bound(over.further.low)} to {margins.bound(over.further.high)}"


def means(counts: Judged, policies: Policies, confidence: float) -> pd.DataFrame:
    """A row for each finding and group of policies that has a mean: all, those of each suite, and how suites differ."""
    rows = {}
    for finding in counts:
        by_suite = _by_suite(counts[finding], policies, confidence)
        for group, (many, over) in by_suite.items():
            rows[str(finding), group] = {
                "policies": str(many),
                "mean, points": wording.points(over.mean),
                "spread": f"{100 * over.spread:.0f}",
                "a further policy": in_range(over),
            }
        for pair, apart in _apart(by_suite).items():
            nothing = dict.fromkeys(("policies", "spread", "a further policy"), "")
            rows[str(finding), pair] = nothing | {"mean, points": wording.points(apart)}
    table = (
        pd.DataFrame([*rows.values()], pd.MultiIndex.from_tuples(rows, names=[None, None])) if rows else pd.DataFrame()
    )
    return table.rename_axis(columns="finding and suite")


def suite_or_training(counts: Judged, policies: Policies, confidence: float) -> str:
    """Whether it matters more on which suite a policy was trained than which of its trainings it is."""
    apart = {finding: [*_apart(_by_suite(found, policies, confidence)).values()] for finding, found in counts.items()}
    known = {finding: pairs for finding, pairs in apart.items() if pairs}
    if not known:
        return (
            f"**Policy and suite cannot be told apart.** That takes {FEWEST} policies that have learned in each of two "
            "suites."
        )
    shown = [finding for finding, pairs in known.items() if any(0 not in one for one in pairs)]
    lead = f"In {len(shown) or 'none'} of {text.count(len(known), 'effect')} the suites are shown to differ"
    told = f" These: {'; '.join(map(str, shown))}." if shown else ""
    return f"**{lead}.** A mean over a suite's trainings is compared with that over the other's.{told}"


def too_few(counts: Judged) -> str:
    """Why there is no row in `means`."""
    here = text.count(len({policy for found in counts.values() for policy in found}), "policy", "policies")
    return (
        f"A mean over policies and its interval for a further one need at least {FEWEST} policies; here {here} counted."
    )


def _by_suite(found: Mapping[str, Prediction], policies: Policies, confidence: float) -> dict[str, tuple[int, Pooled]]:
    """How many policies there are and their mean: of all, and of each suite, if those are fewer; where there is one."""
    groups = {"all": found} | {
        suite: {policy: one for policy, one in found.items() if policies.suites[policy] == suite}
        for suite in sorted(policies.first)
    }
    means = {group: (len(some), over_policies(some, confidence)) for group, some in groups.items()}
    return {
        group: (many, over) for group, (many, over) in means.items() if over and (group == "all" or many < len(found))
    }


def _apart(by_suite: Mapping[str, tuple[int, Pooled]]) -> dict[str, Interval]:
    """The mean of one suite minus that of another, for each two that have one."""
    means = {suite: over.mean for suite, (_, over) in by_suite.items() if suite != "all"}
    return {
        f"{one} minus {other}": independent_difference(means[one], means[other])
        for one, other in combinations(means, 2)
    }
