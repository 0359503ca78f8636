"""What is recorded by now: a chapter shows further settings once they are, and runs none for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kvlab.book import text
from kvlab.paths import DATA
from kvlab.pi0.checkpoint import CONFIG, checkpoint_digest
from kvlab.study.settings import Setting
from kvlab.study.study import Study


def already(study: Study, further: Sequence[Setting]) -> list[Setting]:
    """Those of `further`, in their order, that are recorded for every episode of `study` and are not settings of it."""
    new = [setting for setting in dict.fromkeys(further) if setting not in study.settings]
    if not new:
        return []
    lacking = {setting for trial in replace(study, settings=tuple(new)).missing().values() for setting in trial}
    return [setting for setting in new if setting not in lacking]


def in_full(study: Study) -> Study:
    """The study with those of its settings that are recorded in full, and no reuse: a chapter starts no hours of it."""
    missing, no_reuse = study.plan()["missing"], Setting("none")
    return replace(study, settings=tuple(s for s in study.settings if s == no_reuse or not missing[str(s)]))


def comparable(wanted: Mapping[str, Study]) -> dict[str, Study]:
    """`in_full` of those of `wanted`, by name, of which no reuse is recorded in full. ValueError where none is."""
    found = {name: in_full(study) for name, study in wanted.items() if not study.plan()["missing"]["none"]}
    if not found:
        raise ValueError("not one of these policies has all episodes of `none`; `kvlab run --help` says how to record")
    return found


def left_out(wanted: Iterable[Study], studies: Iterable[Study]) -> list[str]:
    """Which settings of `wanted` the `studies` lack, a sentence a suite; nothing where they lack none."""
    said = []
    for want, have in zip(wanted, studies, strict=True):
        if lacking := [f"`{setting}`" for setting in want.settings if setting not in have.settings]:
            said.append(f"Not recorded in full for `{want.protocol.suite}`, so left out: {text.listed(lacking)}.")
    return said


def checkpoints(root: Path = DATA) -> dict[str, Path]:
    """The policies' folders in `root`/checkpoints by their digest, which every recording has."""
    return {checkpoint_digest(file.parent): file.parent for file in sorted(root.glob(f"checkpoints/*/{CONFIG}"))}


def policy(digest: str, known: dict[str, Path]) -> str:
    """What a recording's policy is called: its folder among the `known`, or else its digest."""
    return known[digest].name if digest in known else f"checkpoint {digest}"
