"""What a gate compares, in the words of sentences and tables and the looks of figures."""

from collections.abc import Sequence

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
