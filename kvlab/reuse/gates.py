"""Gates: when an earlier step's cache may be used. A gate is a conjunction of comparisons, written as text.

vision >= 0.985                   cosine of SigLIP tokens with those of the last computed step (the anchor)
vision@previous >= 0.985          with those of the step before
vision >= 0.98 & state >= 0.98    both
pixels >= 0.99 & age < 10         downsized frames (no encoder needed), and at most nine replans old
every(4)                          compute once in four replans, whatever is seen
every(4, 3)                       compute the first three of four: reuse as rare as there, of a cache one replan old
vision >= 0.9 if gripper < 1 and curvature < 0.5 else 0.99
                                  adaptive: loose on the way, strict near a grasp (see `kvlab.reuse.phase`)
every(2) & gripper < 1            recompute whenever the gripper's command changes within the last two chunks
distance <= 0.3                   the state is that near to the anchor's (LeRobot's rule: `kvlab.reuse.signals`)
settled <= 0.1                    the end points of the last chunk had settled (`kvlab.reuse.execution`)
verify <= 0.15                    the expert, asked once with the kept prefix and the fresh state, agrees with what is
                                  left of the last chunk (`kvlab.reuse.plan`)
always, never
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kvlab.reuse.phase import PHASES

SIGNALS = ("vision", "pixels", "state")
REFERENCES = ("anchor", "previous")
SIMILARITIES = tuple(f"{signal}_{reference}" for signal in SIGNALS for reference in REFERENCES)
DISTANCES = ("distance", "settled", "verify")
GRAMMAR = (
    "a gate is `always`, `never`, `every(k)`, `every(k, computed)`, or comparisons joined by `&`, each `vision`, "
    "`pixels` or `state` (optionally `@anchor` or `@previous`) >= a threshold in [-1, 1], `age` < a whole "
    "number above 0, `gripper`, `curvature` or `spread` < a limit, `distance`, `settled` or `verify` <= a limit; a "
    "threshold may be `LOOSE if gripper < 1 and curvature < 0.5 and spread < 0.2 else STRICT`, each condition optional"
)


@dataclass(frozen=True)
class Term:
    """One comparison: a similarity at or above `bound`, a distance at or below it, an age or a phase below it.

    With `calm` conditions `bound` holds where each named phase is below its limit, and `strict` elsewhere. Of `bound`
    replans the first `computed` are refused where the signal is their number.
    """

    signal: str  # "age", "replan" or one of SIMILARITIES, DISTANCES, PHASES
    bound: float
    calm: tuple[tuple[str, float], ...] = ()
    strict: float | None = None
    computed: int = 1

    def holds(self, signals: Mapping[str, float]) -> bool:
        value = signals[self.signal]
        if self.signal in DISTANCES:
            return value <= self.bound
        if self.signal == "age" or self.signal in PHASES:
            return value < self.bound
        if self.signal == "replan":
            return value % self.bound >= self.computed
        calm = all(signals[phase] < limit for phase, limit in self.calm)  # NaN is not: strict where nothing is known
        return value >= (self.bound if calm else self.strict)


@dataclass(frozen=True)
class Gate:
    """Opens (reuse) where every term holds. `str` gives the text it was parsed from, in canonical spacing."""

    text: str
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return self.text

    def opens(self, signals: Mapping[str, float]) -> bool:
        """Whether to reuse, given the signals, the `age` (1, 2, ... replans) that the cache has now, and which `replan`
        of the episode (0, 1, ...) this is.
        """
        return all(term.holds(signals) for term in self.terms)

    @property
    def reads(self) -> frozenset[str]:
        """The similarities and distances that the decision needs; similarities of vision need the image encoder."""
        return frozenset(term.signal for term in self.terms) - {"age", "replan", *PHASES}

    @property
    def phases(self) -> frozenset[str]:
        """The phases of the task that the decision needs; the spread needs further denoising."""
        read = {term.signal for term in self.terms} | {phase for term in self.terms for phase, _ in term.calm}
        return frozenset(read & {*PHASES})


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
    if match := re.fullmatch(r"every\( ?(\d+) ?(?:, ?(\d+) ?)?\)", part):
        return _parse_clock(part, *(_positive(int(number or 1), part) for number in match.groups()))
    if match := re.fullmatch(r"age ?< ?(\d+)", part):
        limit = _positive(int(match[1]), part)
        return f"age < {limit}", Term("age", limit)
    if match := re.fullmatch(r"(\w+) ?(<=?) ?(\d+(?:\.\d+)?(?:e-?\d+)?)", part):
        signal, sign, limit = match.groups()
        if (signal in DISTANCES and sign == "<=") or (signal in PHASES and sign == "<"):
            return f"{signal} {sign} {_shown(float(limit))}", Term(signal, float(limit))
    number = r"(-?[\d.]+(?:e-?\d+)?)"
    if match := re.fullmatch(rf"(\w+)(?:@(\w+))? ?>= ?{number}(?: if (.+) else {number})?", part):
        signal, reference, threshold, calm, strict = match.groups()
        if signal in SIGNALS and reference in (None, *REFERENCES):
            bound = _threshold(threshold, part)
            written = f"{signal if reference in (None, 'anchor') else f'{signal}@{reference}'} >= {_shown(bound)}"
            name = f"{signal}_{reference or 'anchor'}"
            if calm is None:
                return written, Term(name, bound)
            limits, otherwise = (
                tuple(_parse_calm(c.strip(), whole) for c in calm.split(" and ")),
                _threshold(strict, part),
            )
            said = " and ".join(f"{phase} < {_shown(limit)}" for phase, limit in limits)
            return f"{written} if {said} else {_shown(otherwise)}", Term(name, bound, limits, otherwise)
    raise ValueError(f"cannot read {part!r} in the gate {whole!r}: {GRAMMAR}")


def _parse_clock(part: str, period: int, computed: int) -> tuple[str, Term]:
    if computed == 1:
        return f"every({period})", Term("age", period)
    if computed >= period:
        raise ValueError(f"{part!r} never reuses: of {period} replans at most {period - 1} may be computed")
    return f"every({period}, {computed})", Term("replan", period, computed=computed)


def _parse_calm(part: str, whole: str) -> tuple[str, float]:
    match = re.fullmatch(r"(\w+) ?< ?(\d+(?:\.\d+)?)", part)
    if not match or match[1] not in PHASES:
        raise ValueError(f"cannot read the condition {part!r} in the gate {whole!r}: {GRAMMAR}")
    return match[1], float(match[2])


def _shown(number: float) -> str:
    """Every digit, so that the text gives back the same number."""
    return repr(number).removesuffix(".0")


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
