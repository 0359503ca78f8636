"""What is recorded by now: a chapter shows further settings once they are, and runs none for it."""

from collections.abc import Sequence
from dataclasses import replace

from kvlab.study.settings import Setting
from kvlab.study.study import Study


def already(study: Study, further: Sequence[Setting]) -> list[Setting]:
    """Those of `further`, in their order, that are recorded for every episode of `study` and are not settings of it."""
    new = [setting for setting in dict.fromkeys(further) if setting not in study.settings]
    if not new:
        return []
    lacking = {setting for trial in replace(study, settings=tuple(new)).missing().values() for setting in trial}
    return [setting for setting in new if setting not in lacking]
