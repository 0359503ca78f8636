"""An estimate with the interval that says how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A point estimate and its two-sided interval; rates in [0, 1], differences in [-1, 1].

    `method` names what produced `low` and `high`. `collapsed` is True when a bootstrap was asked for and its own
    interval has no width (all resamples alike): the bounds are then those of the method named in `method`.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str
    collapsed: bool = False

    @property
    def width(self) -> float:
        """`high - low`."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        note = ", bootstrap collapsed" if self.collapsed else ""
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}] ({self.confidence:.0%} {self.method}{note})"
