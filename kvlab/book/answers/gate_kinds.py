"""Words of sentences and tables and looks of figures for what a gate compares, and for what two counts show of it."""

from collections.abc import Sequence

from kvlab.evidence.stats import Interval
from kvlab.reuse import parse_gate
from kvlab.study.settings import Setting

CLOCK, BOTH, BEFORE = "nothing (a clock)", "images and robot state", "images of the replan before"
# what a gate compares, by the signals that it reads: how sentences and tables call it, how figures draw it
KINDS = {
    frozenset(): (CLOCK, "every"),
    frozenset({"vision_anchor"}): ("images", "full"),
    frozenset({"vision_anchor", "state_anchor"}): (BOTH, "synchronized"),
    frozenset({"state_anchor"}): ("robot state", "state"),
    frozenset({"vision_previous"}): (BEFORE, "previous"),
    frozenset({"pixels_anchor"}): ("thumbnails", "pixels"),
}
COUNTS = ("over all replans", "over needed replans")  # needed: as many of an episode as no reuse took
BETTER, WORSE, OPEN = "better", "worse", "open"
BOTH_BETTER, BOTH_WORSE = f"{BETTER} in both", f"{WORSE} in both"
PHASED = ("images by the phase of the task", "adaptive")


def kind(setting: Setting) -> str:
    """What the gate of a setting compares, in words. ValueError: signals that this chapter has no word for."""
    return _kind(setting)[0]


def looks(settings: Sequence[Setting]) -> list[str]:
    """Names of `plots.look`, one for each kind of gate."""
    return [_kind(setting)[1] for setting in settings]


def _kind(setting: Setting) -> tuple[str, str]:
    gate = parse_gate(setting.gate)
    if gate.phases:
        return PHASED
    if gate.reads not in KINDS:
        raise ValueError(f"this chapter has no word for what the gate `{gate}` compares")
    return KINDS[gate.reads]


def in_both(first: Interval | None, second: Interval | None) -> str:
    """What two gains, in the two COUNTS of reuse, show together: `worse over all replans only`.

    A gain that the curve does not reach shows nothing.
    """
    one, two = map(_side, (first, second))
    if one == two:
        return OPEN if one == OPEN else f"{one} in both"
    if OPEN in (one, two):
        return f"{one} {COUNTS[0]} only" if two == OPEN else f"{two} {COUNTS[1]} only"
    return f"{one} {COUNTS[0]}, {two} {COUNTS[1]}"


def _side(gain: Interval | None) -> str:
    return OPEN if gain is None or gain.low <= 0 <= gain.high else BETTER if gain.low > 0 else WORSE
