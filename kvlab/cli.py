"""The command line: a thin skin over the library. Heavy imports stay inside the commands: `--help` is instant."""

import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Annotated

import typer

from kvlab.options import resumable
from kvlab.policy_commands import audit, bench, run, serve

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
    from kvlab.paths import INSTALLATION

    checks = diagnose(INSTALLATION / "constraints.txt", install)
    for check in checks:
        typer.echo(f"{'ok' if check.ok else 'MISSING':8}{check.name}: {check.text}")
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def demos(
    suite: str,
    out: Annotated[Path, typer.Option(help="Folder for the demonstrations, one file each.")] = Path(".demos"),
    per_task: Annotated[int, typer.Option(min=1, help="Demonstrations of each task.")] = 40,
    task: Annotated[list[int] | None, typer.Option(help="Only this task, by its index; repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Record demonstrations by the scripted expert, with recovery noise; goes on where an earlier run stopped."""
    from kvlab.sim.demos import generate

    with resumable():
        written, failed = generate(suite, out, per_task, workers, only=task)
    typer.echo(f"{written} demonstrations written to {out / suite}; {failed} episodes failed and were left out.")


@app.command()
def export(
    demos: Annotated[Path, typer.Argument(help="Folder of demonstrations (`kvlab demos`), searched with its folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the dataset, which must not be there yet.")],
) -> None:
    """Write demonstrations as a LeRobot dataset (format v3.0), on which others can train a real Pi0.

    Columns, and how frames and states are turned, are those of LeRobot's LIBERO (`HuggingFaceVLA/libero`); the size and
    look of frames are those of the demonstrations, and the dataset's README.md says them. LeRobot reads the folder as
    `LeRobotDataset("kvlab/demos", root=OUT)`. `kvlab demos` draws small and fast; for frames as in published data, make
    them in Python: `kvlab.sim.demos.generate(suite, folder, render="stock", size=256)`.
    """
    from kvlab.sim.lerobot import export as write

    with resumable("nothing is left of the dataset, and the same command begins it anew"):
        episodes, frames = write(demos, out)
    typer.echo(f"{episodes} episodes with {frames} frames written to {out}.")


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


@app.command()
def prune(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint that `kvlab train` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the smaller one, which `kvlab train --start` then finetunes.")],
    layers: Annotated[int | None, typer.Option(help="Of prefix and expert.")] = None,
    prefix_mlp: Annotated[int | None, typer.Option(help="Neurons of each of the prefix's MLPs.")] = None,
    expert_mlp: Annotated[int | None, typer.Option(help="Neurons of each of the expert's MLPs.")] = None,
) -> None:
    """Take layers or neurons out of a trained policy."""
    from kvlab.pi0 import load, save
    from kvlab.pi0.prune import prune as smaller

    if out.exists():
        raise FileExistsError(f"{out} is there already: remove it, or name another folder for the checkpoint")
    save(smaller(load(checkpoint), layers, prefix_mlp, expert_mlp), out)


@app.command()
def train(
    demos: Annotated[Path, typer.Argument(help="Folder of demonstrations (`kvlab demos`), searched with its folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, its curve and the state to go on from.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 10_000,
    batch: Annotated[int, typer.Option(min=1, help="Moments a step.")] = 256,
    draws: Annotated[int, typer.Option(min=1, help="Draws of noise and time for each moment.")] = 4,
    learning_rate: Annotated[float, typer.Option(help="At its highest, after the warm-up.")] = 5e-4,
    device: Annotated[str, typer.Option(help="cpu (slow) or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Of the weights, batches and noise.")] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps from one saved checkpoint to the next.")] = 1000,
    preset: Annotated[
        str, typer.Option(help="mini, or with half or twice its parameters mini_half, mini_double.")
    ] = "mini",
    rotation: Annotated[str, typer.Option(help="Of the state: axis_angle, or 6d, which does not jump.")] = "axis_angle",
    start: Annotated[Path | None, typer.Option(help="Checkpoint to go on from, in the place of a preset.")] = None,
) -> None:
    """Train a small policy on demonstrations; goes on where an earlier run with the same settings stopped."""
    import torch

    from kvlab.pi0.config import TRAINED
    from kvlab.pi0.rotation import ROTATIONS
    from kvlab.pi0.train import train as train_policy

    for name, value, known in (("preset", preset, TRAINED), ("rotation", rotation, ROTATIONS)):
        if value not in known:
            raise ValueError(f"the {name} is one of {', '.join(known)}, got {value!r}")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}: it is cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device on this machine: use --device cpu (slow)")
    with resumable():
        train_policy(
            demos,
            out,
            steps=steps,
            batch=batch,
            draws=draws,
            learning_rate=learning_rate,
            device=device,
            seed=seed,
            save_every=save_every,
            preset=preset,
            rotation=rotation,
            start=start,
        )
    typer.echo(f"Trained for {steps} steps; the checkpoint and its curve are in {out}.")


@app.command()
def quantize(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint that `kvlab train` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder for the quantized checkpoint, which must not be there yet.")],
    activations: Annotated[
        bool, typer.Option(help="Compute in int8 too, on a CPU; otherwise weights become floats again when loaded.")
    ] = False,
) -> None:
    """Round a checkpoint's weights to int8, with a scale for each output: half the file. The same bytes every time.

    All other commands take the new folder like any other. Weights alone save no time. With activations every linear
    layer of the transformers multiplies int8, each token with a scale of its own; that is faster where the processor
    has VNNI, and with the native numerics that use it.
    """
    from kvlab.pi0 import load, save
    from kvlab.pi0.int8 import ACTIVATIONS, WEIGHTS

    if out.exists():
        raise FileExistsError(f"{out} is there already: remove it, or name another folder for the checkpoint")
    save(load(checkpoint), out, precision=ACTIVATIONS if activations else WEIGHTS)
    size = (out / "model.safetensors").stat().st_size
    typer.echo(f"{ACTIVATIONS if activations else WEIGHTS}: {size / 1e6:.1f} MB in {out}.")


for command in (run, serve, audit, bench):
    app.command()(command)


def program() -> None:
    """The program `kvlab`: what a user got wrong ends in one sentence, not in a traceback."""
    try:
        app()
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        sys.exit(f"kvlab: {error}")
    except BrokenProcessPool:
        sys.exit("kvlab: a worker process was killed; what was finished is kept, the same command goes on from there")
