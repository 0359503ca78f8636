"""How the policies of *Across policies* were trained, and what each solves by itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from kvlab.book import text
from kvlab.book.answers.stated import BLACK, NO_REUSE, Policies
from kvlab.evidence import wording
from kvlab.evidence.rows import recorded, successes
from kvlab.evidence.stats import rate_interval
from kvlab.pi0.train import CURVE
from kvlab.study.study import Study

FORMS = {"axis_angle": "axis-angle", "6d": "6-D"}  # of the state's orientation
NOT_RECORDED = "not recorded"


def table(studies: Mapping[str, Study], policies: Policies) -> pd.DataFrame:
    """A row for each policy: what it was trained on and for, and its loss at the end."""
    rows = {}
    for policy, study in studies.items():
        model, told, losses = study.policy.model, study.policy.trained_on, held_out(study.checkpoint)
        rows[policy] = {
            "suite": policies.suites[policy],
            "million parameters": f"{sum(one.numel() for one in model.parameters()) / 1e6:.1f}",
            "orientation": FORMS[study.policy.config.rotation],
            "seed": told.get("seed", NOT_RECORDED),
            "demonstrations": told.get("demonstrations", NOT_RECORDED),
            "steps": told.get("steps", NOT_RECORDED),
            "held-out loss": f"{losses.iloc[-1]:.2f}" if len(losses) else NOT_RECORDED,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=None, columns="policy")


def solved(policies: Policies, confidence: float) -> pd.DataFrame:
    """Two rows for each policy: success without reuse, with whether that counts as learned, and with cameras black."""
    rows = {}
    for policy, records in policies.records.items():
        for setting, cameras in ((NO_REUSE, "on"), (BLACK, "black")):
            if setting in recorded(records):
                success = successes(records, setting)
                k, n = int(success.sum()), len(success)
                found = [f"{k} of {n}", wording.percent(rate_interval(k, n, confidence=confidence))]
            else:
                found = [NOT_RECORDED, ""]
            counts = policies.states[policy] if setting == NO_REUSE else ""
            rows[policy, cameras] = dict(zip(("successes", "%", "learned"), (*found, counts), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index=[None, None], columns="policy and cameras")


def held_out(checkpoint: Path) -> pd.Series:
    """The loss on demonstrations that were not trained on, by training step; empty where no curve is recorded."""
    if not (path := checkpoint / CURVE).is_file():
        return pd.Series(dtype=float)
    return pd.read_csv(path).set_index("step")["validation_loss"].dropna()


def curves(studies: Mapping[str, Study]) -> dict[str, dict[str, pd.Series]]:
    """`held_out` by suite and policy, of those that have it."""
    found: dict[str, dict[str, pd.Series]] = {}
    for policy, study in studies.items():
        if len(losses := held_out(study.checkpoint)):
            found.setdefault(study.protocol.suite, {})[policy] = losses
    return found


def headline(found: Mapping[str, Mapping[str, pd.Series]]) -> str:
    """The title of the curves: how many policies were trained past their lowest loss."""
    losses = _losses(found)
    many = text.count(len(losses), "policy", "policies")
    were = "was" if len(losses) == 1 else "were"
    return f"{len(_past(losses))} of {many} {were} trained beyond the lowest held-out loss"


def _losses(found: Mapping[str, Mapping[str, pd.Series]]) -> list[pd.Series]:
    return [one for policies in found.values() for one in policies.values()]


def _past(losses: Sequence[pd.Series]) -> list[pd.Series]:
    return [one for one in losses if one.iloc[-1] > one.min()]


def diverged(folder: Path) -> list[str]:
    """A sentence for each training below a folder whose curve ends without a loss, which left no weights to keep."""
    said = []
    for path in sorted(folder.glob(f"*/{CURVE}")):
        curve = pd.read_csv(path).set_index("step")["loss"]
        if curve.isna().iloc[-1]:
            said.append(
                f"The training of `{path.parent.name}` diverged between step {curve.last_valid_index():,} and step "
                f"{curve.index[curve.isna()][0]:,}, and left no policy to run."
            )
    return said
