"""What *In real time* says of delays: how they are rounded, what another machine's would be, where a robot stands."""

from collections.abc import Mapping
from itertools import combinations

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, timed
from kvlab.book.timeline import Course
from kvlab.evidence import rows
from kvlab.reuse.modes import CHUNKS
from kvlab.study.clock import CONTROL_MS, Clock
from kvlab.study.records import Records
from kvlab.study.settings import Setting

OTHER = "h100"  # of `times.MACHINES`, whose stages have other shares of an inference


def words(clock: Clock, setting: Setting) -> str:
    """The control steps of a replan, of a computed and a reused one where they differ."""
    delays = clock.delays(setting)
    kept = setting.mode != "none" and delays.reused != delays.computed
    return f"{delays.computed}, reused {delays.reused}" if kept else f"{delays.computed}"


def elsewhere(ms: float, setting: Setting) -> str:
    """What they would be by the shares of stages on `OTHER`; empty where they are the same."""
    try:
        other = words(Clock(ms, OTHER), setting)
    except ValueError:  # a mode or a gate that was not timed there
        return "not timed"
    return other if other != words(Clock(ms), setting) else ""


def rounding(records: BySuite) -> str:
    """How rounding to control steps parts two settings, and how many delays another machine's shares would change."""
    there = [(ms, setting) for _, ms, each in timed(records) for setting in rows.recorded(each)]
    changed = sum(elsewhere(ms, setting) not in ("", "not timed") for ms, setting in there)
    told = " The column *H100's delay* says which; success with it is not recorded." if changed else ""
    return (
        f"{_nearest([*dict.fromkeys(there)])}The shares of stages on an H100 are others: by them the delay would be "
        f"another in {changed or 'none'} of the {text.count(len(there), 'row')} above 0 ms in the next tables.{told}"
    )


def _nearest(there: list[tuple[float, Setting]]) -> str:
    """The two settings at one speed that take most nearly as long, and yet are rounded to other delays."""
    pairs = [
        (abs(Clock(ms).ms(one, False) - Clock(ms).ms(other, False)), ms, one, other)
        for (ms, one), (same, other) in combinations(there, 2)
        if ms == same and Clock(ms).delays(one).computed != Clock(ms).delays(other).computed
    ]
    if not pairs:
        return ""
    _, ms, *both = min(pairs, key=lambda pair: pair[0])
    less, more = sorted(both, key=lambda setting: Clock(ms).ms(setting, False))
    short, long = (Clock(ms).delays(setting).computed for setting in (less, more))
    return (
        f"Rounding counts: at {ms:g} ms a replan takes {Clock(ms).ms(less, False):.0f} ms with {tables.lever(less)}. "
        f"With {tables.lever(more)} it takes {Clock(ms).ms(more, False):.0f} ms. Of control steps of {CONTROL_MS} ms "
        f"that is {short} and {long}. "
    )


def drawn(records: Records) -> list[Setting]:
    """The settings of the drawing: no reuse, what solves most, and what keeps chunks."""
    kept = [setting for setting in rows.recorded(records) if setting.mode in CHUNKS]
    return list(dict.fromkeys([NO_REUSE, ranked(records)[0], *kept]))


def title(courses: Mapping[Setting, Course], ms: float) -> str:
    """The title of the drawing."""
    shares = {setting: course.still for setting, course in courses.items()}
    most = max(shares, key=shares.get)
    stands = f"stands still {text.percent(shares[most])} of the time" if shares[most] else "never stands still"
    return f"At {ms:g} ms an inference the robot {stands} with {tables.lever(most)}"


def still(courses: Mapping[Setting, Course], ms: float) -> str:
    """How much of its time a robot stands still for want of actions, setting by setting."""
    shares = [f"{text.percent(course.still)} with {tables.lever(setting)}" for setting, course in courses.items()]
    return f"At {ms:g} ms, once it has its first chunk, the robot stands still for these shares of the time: " + (
        "; ".join(shares) + "."
    )
