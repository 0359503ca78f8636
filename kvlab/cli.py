"""The command line: a thin skin over the library. Heavy imports stay inside the commands: `--help` is instant."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def main() -> None:
    """kvlab: Pi0 with a reusable KV cache, on LIBERO, with evidence."""


@app.command()
def doctor(
    install: Annotated[bool, typer.Option(help="Install a missing OpenGL driver with apt, where it can be.")] = False,
) -> None:
    """Check what kvlab needs of this machine: Python, the pinned packages, OpenGL without a screen."""
    from kvlab.doctor import diagnose
    from kvlab.lab.paths import ROOT

    checks = diagnose(ROOT / "constraints.txt", install)
    for check in checks:
        typer.echo(f"{'ok' if check.ok else 'MISSING':8}{check.name}: {check.text}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def demos(
    suite: str,
    out: Annotated[Path, typer.Option(help="Folder for the demonstrations, one file each.")] = Path(".demos"),
    per_task: Annotated[int, typer.Option(min=1, help="Demonstrations of each task.")] = 40,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Record demonstrations by the scripted expert, with recovery noise; goes on where an earlier run stopped."""
    from kvlab.sim.demos import generate

    written, failed = generate(suite, out, per_task, workers)
    typer.echo(f"{written} demonstrations written to {out / suite}; {failed} episodes failed and were left out.")


@app.command()
def expert(
    suite: str,
    states: Annotated[int, typer.Option(help="How many of each task's 50 official initial states.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Where cabinet and stove stand.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the table of episodes.")] = Path("data/expert"),
) -> None:
    """Try the scripted expert on official initial states; records every episode and prints success by task."""
    from kvlab.sim.trials import trials

    episodes = trials(suite, states, seed, workers)
    out.mkdir(parents=True, exist_ok=True)
    made = f"# kvlab expert {suite} --states {states} --seed {seed}\n"  # read with comment="#"
    (out / f"{suite}.csv").write_text(made + episodes.to_csv(index=False))
    table = episodes.groupby(["task", "name"]).agg(success=("success", "sum"), of=("success", "size"))
    typer.echo(table.to_string())


def program() -> None:
    """The program `kvlab`: what a user got wrong ends in one sentence, not in a traceback."""
    try:
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"kvlab: {error}")
