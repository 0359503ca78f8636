"""A claim of the February report, and the table of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from kvlab.evidence import verdicts

ONCE = "supported with the first seed alone"


@dataclass(frozen=True)
class Claim:
    """A claim of the report: what it printed for it, what was found here, and how it ends.

    Where it is not shown, what would decide it, and how large an effect is left. Where it is supported by a setting
    that was chosen among many, what a second seed says of that one.
    """

    says: str
    printed: str
    found: str
    verdict: str
    decides: str = ""
    left: str = ""
    again: str = ""


def table(found: Sequence[Claim]) -> pd.DataFrame:
    """One row a claim, how it ends first."""
    return pd.DataFrame(
        {
            "ends as": [_end(claim) for claim in found],
            "found here": [claim.found for claim in found],
            "printed there": [claim.printed for claim in found],
        },
        index=[f"{number}. {claim.says}" for number, claim in enumerate(found, 1)],
    ).rename_axis(columns="the report says")


def _end(claim: Claim) -> str:
    if claim.again:
        return f"{claim.verdict}. {claim.again.replace('`', '')}"
    if claim.verdict != verdicts.NOT_SHOWN:
        return claim.verdict
    decided = f"would be decided by {claim.decides}" if claim.decides else ""
    return "; ".join(filter(None, (claim.verdict, claim.left, decided)))
