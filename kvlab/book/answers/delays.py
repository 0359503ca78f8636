"""What *In real time* says of delays: how they are rounded, what another machine's would be, where a robot stands."""

from collections.abc import Mapping

from kvlab.book import tables, text
from kvlab.book.answers.speeds import NO_REUSE, BySuite, ranked, timed
from kvlab.book.timeline import Course
from kvlab.evidence import rows
from kvlab.reuse.modes import CHUNKS
from kvlab.study.clock import Clock
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
    """How many delays another machine's shares of the stages would change."""
    there = [(ms, setting) for _, ms, each in timed(records) for setting in rows.recorded(each)]
    changed = sum(elsewhere(ms, setting) not in ("", "not timed") for ms, setting in there)
    told = " (column *H100's delay*); success with it is not recorded" if changed else ""
    return (
        f"By an H100's shares of the stages the delay would be another in {changed or 'none'} of the "
        f"{text.count(len(there), 'row')} above 0 ms{told}."
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
