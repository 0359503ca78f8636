"""What the sentences of *In real time* share: records by suite and speed, who solves most, speeds in words."""

from collections.abc import Iterable, Mapping

from kvlab.book import text
from kvlab.evidence import rows
from kvlab.evidence.rows import successes
from kvlab.study.records import Records
from kvlab.study.settings import Setting

NO_REUSE = Setting("none")
BySuite = Mapping[str, Mapping[float, Records]]  # records of each suite by the ms of a full inference


def solved(records: Records, setting: Setting) -> str:
    """`84 of 100`."""
    won = successes(records, setting)
    return f"{int(won.sum())} of {len(won)}"


def ranked(records: Records) -> list[Setting]:
    """The recorded settings, those that solve most first; of equals the one that stands first in the records."""
    return sorted(rows.recorded(records), key=lambda setting: -int(successes(records, setting).sum()))


def timed(records: BySuite) -> list[tuple[str, float, Records]]:
    """Suite, ms of a full inference and records of every world that does not wait."""
    return [(suite, ms, speeds[ms]) for suite, speeds in records.items() for ms in sorted(speeds) if ms]


def said(speeds: Iterable[float]) -> str:
    """`200 and 400 ms`, `no recorded speed`."""
    listed = [f"{ms:g}" for ms in speeds]
    return f"{text.listed(listed)} ms" if listed else "no recorded speed"
