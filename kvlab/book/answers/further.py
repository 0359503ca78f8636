"""What *Across policies* says of a further policy, and of what the suite does and what the training.

`counts` are the findings in the policies that have learned (`stated.counted`). A mean is over the policies of one
suite: one over two suites would mix what differs between them with what differs between trainings.
"""

from collections import Counter
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


def over_policies(found: Mapping[str, Prediction], policies: Policies, confidence: float) -> dict[str, Pooled]:
    """By suite the mean over its policies, where they are enough.

    What a further one would show ends at 100 points, beyond which no difference goes.
    """
    means = {
        suite: pooled([one.effect for policy, one in found.items() if policies.suites[policy] == suite], confidence)
        for suite in sorted(policies.first)
    }
    return {suite: _cut(over) for suite, over in means.items() if over}


def in_range(over: Pooled) -> str:
    """Where the effect in a further policy is expected, in points."""
    return f"{margins.bound(over.further.low)} to {margins.bound(over.further.high)}"


def means(counts: Judged, policies: Policies, confidence: float) -> pd.DataFrame:
    """A row for each finding and suite that has a mean, and one for how two suites differ."""
    rows = {}
    for finding, found in counts.items():
        over = over_policies(found, policies, confidence)
        for suite, one in over.items():
            rows[str(finding), suite] = {
                "policies": str(sum(policies.suites[policy] == suite for policy in found)),
                "mean, points": wording.points(one.mean),
                "spread": f"{100 * one.spread:.0f}",
                "a further policy": in_range(one),
            }
        for pair, apart in _apart(over).items():
            nothing = dict.fromkeys(("policies", "spread", "a further policy"), "")
            rows[str(finding), pair] = nothing | {"mean, points": wording.points(apart)}
    table = (
        pd.DataFrame([*rows.values()], pd.MultiIndex.from_tuples(rows, names=[None, None])) if rows else pd.DataFrame()
    )
    return table.rename_axis(columns="finding and suite")


def suite_or_training(counts: Judged, policies: Policies, confidence: float) -> str:
    """Whether it matters more on which suite a policy was trained than which of its trainings it is."""
    over = {finding: over_policies(found, policies, confidence) for finding, found in counts.items()}
    apart = {finding: [*_apart(means).values()] for finding, means in over.items()}
    known = {finding: pairs for finding, pairs in apart.items() if pairs}
    if not known:
        return (
            f"**Policy and suite cannot be told apart.** That takes {FEWEST} policies that have learned and ran the "
            "same finding in each of two suites."
        )
    shown = sum(any(0 not in one for one in pairs) for pairs in known.values())
    return f"**In {shown or 'none'} of {text.count(len(known), 'effect')} the suites are shown to differ.**"


def too_few(counts: Judged, policies: Policies) -> str:
    """Why there is no row in `means`."""
    ran = [Counter(policies.suites[policy] for policy in found) for found in counts.values()]
    most = max((many for one in ran for many in one.values()), default=0)
    return (
        f"A mean over policies and its range for a further one need at least {FEWEST} policies of one suite that ran a "
        f"finding; here there {'is' if most == 1 else 'are'} {text.count(most, 'policy', 'policies')} at most."
    )


def _cut(over: Pooled) -> Pooled:
    ends = {"low": max(-1.0, over.further.low), "high": min(1.0, over.further.high)}
    return replace(over, further=replace(over.further, **ends))


def _apart(means: Mapping[str, Pooled]) -> dict[str, Interval]:
    """The mean of one suite minus that of another, for each two that have one."""
    return {
        f"{one} minus {other}": independent_difference(means[one].mean, means[other].mean)
        for one, other in combinations(means, 2)
    }
