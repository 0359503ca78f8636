"""Gates: when an earlier step's cache may be used. A gate is a conjunction of comparisons, written as text.

vision >= 0.985                   cosine of SigLIP tokens with those of the last computed step (the anchor)
vision@previous >= 0.985          with those of the step before
vision >= 0.98 & state >= 0.98    both
pixels >= 0.99 & age < 10         downsized frames (no encoder needed), and at most nine replans old
every(4)                          compute once in four replans, whatever is seen
always, never
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

SIGNALS = ("vision", "pixels", "state")
REFERENCES = ("anchor", "previous")
SIMILARITIES = tuple(f"{signal}_{reference}" for signal in SIGNALS for reference in REFERENCES)
GRAMMAR = (
    "a gate is `always`, `never`, `every(k)`, or comparisons joined by `&`, each `vision`, `pixels` or `state` "
    "(optionally `@anchor` or `@previous`) >= a threshold in [-1, 1], or `age` < a whole number above 0"
)


@dataclass(frozen=True)
class Term:
    """One comparison: a similarity at or above `bound`, or the cache's age in replans below it."""

    signal: str  # "age" or one of SIMILARITIES
    bound: float

    def holds(self, signals: Mapping[str, float]) -> bool:
        value = signals[self.signal]
        return value < self.bound if self.signal == "age" else value >= self.bound


@dataclass(frozen=True)
class Gate:
    """Opens (reuse) where every term holds. `str` gives the text it was parsed from, in canonical spacing."""

    text: str
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return self.text

    def opens(self, signals: Mapping[str, float]) -> bool:
        """Whether to reuse, given the signals and the `age` (1, 2, ... replans) that the cache has now."""
        return all(term.holds(signals) for term in self.terms)

    @property
    def reads(self) -> frozenset[str]:
        """The similarities that the decision needs; those of vision need the image encoder."""
        return frozenset(term.signal for term in self.terms) - {"age"}


def parse_gate(text: str) -> Gate:
    """The gate that `text` describes. Raises ValueError that says what is wrong and what a gate looks like."""
    if not isinstance(text, str):
        raise ValueError(f"a gate is written as text, got {text!r}: {GRAMMAR}")
    words = " ".join(text.split())
    if words == "always":
        return Gate(words, ())
    if words == "never":
        return Gate(words, (Term("age", 1),))  # a kept cache is at least one replan old
    parsed = [_parse_term(part.strip(), text) for part in words.split("&")]
    return Gate(" & ".join(canonical for canonical, _ in parsed), tuple(term for _, term in parsed))


def _parse_term(part: str, whole: str) -> tuple[str, Term]:
    if match := re.fullmatch(r"every\( ?(\d+) ?\)", part):
        period = _positive(int(match[1]), part)
        return f"every({period})", Term("age", period)
    if match := re.fullmatch(r"age ?< ?(\d+)", part):
        limit = _positive(int(match[1]), part)
        return f"age < {limit}", Term("age", limit)
    if match := re.fullmatch(r"(\w+)(?:@(\w+))? ?>= ?(-?[\d.]+(?:e-?\d+)?)", part):
        signal, reference, number = match.groups()
        if signal in SIGNALS and reference in (None, *REFERENCES):
            threshold = _threshold(number, part)
            written = signal if reference in (None, "anchor") else f"{signal}@{reference}"
            shown = repr(threshold).removesuffix(".0")  # every digit, so that the text gives back the same bound
            return f"{written} >= {shown}", Term(f"{signal}_{reference or 'anchor'}", threshold)
    raise ValueError(f"cannot read {part!r} in the gate {whole!r}: {GRAMMAR}")


def _positive(number: int, part: str) -> int:
    if number < 1:
        raise ValueError(f"{part!r} needs a whole number above 0")
    return number


def _threshold(number: str, part: str) -> float:
    try:
        threshold = float(number)
    except ValueError:
        raise ValueError(f"{number!r} in {part!r} is not a number") from None
    if not -1 <= threshold <= 1:
        raise ValueError(f"the threshold {threshold:g} in {part!r} is outside [-1, 1], the range of a cosine")
    return threshold
