"""Which speeds of *In real time* are recorded: a chapter reads what is there, and says what is not."""

from collections.abc import Mapping
from dataclasses import replace

from kvlab.book import text
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NO_REUSE = Setting("none")
Studies = Mapping[str, Mapping[float, Study]]  # studies of each suite by the ms of a full inference


def at(study: Study, real_time: str) -> Study:
    """`study` in a world that does not wait: `200ms`, `200ms hold`. ValueError as in `parse_clock` and `Study`."""
    return replace(study, protocol=replace(study.protocol, real_time=real_time))


def recorded(wanted: Studies) -> dict[str, dict[float, Study]]:
    """The studies with what is recorded in full (`_complete`), since a chapter starts no hours of it.

    Left out, too, are a setting that is recorded at no speed above 0 and a suite where there is none. ValueError:
    nothing is left.
    """
    found = {}
    for suite, speeds in wanted.items():
        full = {ms: settings for ms, study in speeds.items() if (settings := _complete(study))}
        if timed := {setting for ms, settings in full.items() if ms for setting in settings}:
            found[suite] = {
                ms: replace(speeds[ms], settings=tuple(setting for setting in settings if setting in timed))
                for ms, settings in full.items()
            }
    if not found:
        raise ValueError(
            "no speed above 0 ms is recorded in full; with `run` true this notebook records what is missing"
        )
    return found


def planned(wanted: Studies, studies: Studies, run: bool, workers: int) -> str:
    """What of `wanted` is recorded, and what the next cell does."""
    if run:
        return text.planned(*_each(wanted), workers=workers)
    there, asked = (sum(study.episodes * len(study.settings) for study in _each(some)) for some in (studies, wanted))
    if there == asked:
        return f"All {text.count(asked, 'episode')} are recorded, and the next cell reads them."
    read = f"the next cell reads {there:,}: those of settings that are recorded above 0 ms"
    return f"Of {text.count(asked, 'episode')} {read}. The end of the page lists those that are not."


def _each(studies: Studies) -> list[Study]:
    return [study for speeds in studies.values() for study in speeds.values()]


def left_out(wanted: Studies) -> list[str]:
    """What of `wanted` is not recorded in full, and how many of its episodes are, by suite and speed."""
    said = []
    for suite, speeds in wanted.items():
        for ms, study in speeds.items():
            complete = _complete(study)
            if lacking := [str(setting) for setting in study.settings if setting not in complete]:
                what = text.listed([f"`{setting}`" for setting in lacking]) if complete else "every setting"
                of = text.count(len(lacking) * study.episodes, "episode")
                said.append(f"- `{suite}` at {ms:g} ms: {what} ({study.plan()['recorded'][lacking].sum()} of {of}).")
    return ["Not recorded in full yet, so left out:\n\n" + "\n".join(said)] if said else []


def _complete(study: Study) -> list[Setting]:
    """The settings that are recorded in full; none where no reuse is not, or where a speed is still being recorded.

    Of what happens to be finished no winner is named.
    """
    plan = study.plan()
    under_way = study.protocol.real_time.full_ms > 0 and (plan["recorded"].gt(0) & plan["missing"].gt(0)).any()
    full = [setting for setting in study.settings if not plan["missing"][str(setting)]]
    return full if NO_REUSE in full and not under_way else []
