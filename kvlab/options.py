"""What commands have in common: the options that name a policy, and what Ctrl-C says."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    Path, typer.Option(help="Of the policy: a folder, or owner/name or owner/name@revision on the Hugging Face Hub.")
]
Config = Annotated[
    list[str] | None,
    typer.Option(help="NAME=VALUE, an entry of a published checkpoint's config.json, as JSON; repeatable."),
]
Tokenizer = Annotated[
    Path | None, typer.Option(help="File, where a published checkpoint's folder has none: PaliGemma's tokenizer.json.")
]
Statistics = Annotated[
    Path | None,
    typer.Option(
        help="File of the normalisation, where a published checkpoint's folder has none: openpi's norm_stats.json, or "
        "meta/stats.json of the LeRobot dataset it was trained on."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Of the policy: cpu (float32), cuda (bfloat16, eager), engine (cuda, by graphs) or engine-fp8 (with eight "
        "bits for images and prefill)."
    ),
]


@contextmanager
def resumable(then: str = "what was finished is kept, and the same command goes on from there") -> Iterator[None]:
    """Ctrl-C inside says what becomes of the work: as a rule it goes on where it was."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"kvlab: interrupted; {then}", err=True)
        raise typer.Exit(130) from None


def entries(config: list[str] | None, statistics: Path | None = None) -> dict[str, object]:
    """NAME=VALUE as entries; a value that is no JSON is text. Statistics go in as what is in their file."""
    entries = {}
    if statistics:
        from kvlab.pi0.normalisation import NORM_STATS, read_statistics

        entries[NORM_STATS] = read_statistics(statistics)
    for text in config or []:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--config should be NAME=VALUE, such as discrete_state_input=false; got {text!r}")
        try:
            entries[name] = json.loads(value)
        except json.JSONDecodeError:
            entries[name] = value
    return entries
