"""The command line: a thin skin over the library. Heavy imports stay inside the commands: `--help` is instant."""

import asyncio
import json
import os
import shlex
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvlab.paths import DATA

if TYPE_CHECKING:
    import pandas as pd

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
    str, typer.Option(help="Of the policy: cpu (float32), cuda (bfloat16, eager) or engine (cuda, by graphs).")
]

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

    with _resumable():
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

    with _resumable("nothing is left of the dataset, and the same command begins it anew"):
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
) -> None:
    """Train the `mini` preset on demonstrations; goes on where an earlier run with the same settings stopped."""
    import torch

    from kvlab.pi0.train import train as train_policy

    if device not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {device!r}: it is cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device on this machine: use --device cpu (slow)")
    with _resumable():
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
        )
    typer.echo(f"Trained for {steps} steps; the checkpoint and its curve are in {out}.")


@app.command()
def run(
    checkpoint: Checkpoint,
    setting: Annotated[list[str], typer.Option(help="What is compared, written as above; repeatable.")],
    episodes: Annotated[
        int,
        typer.Option(
            help="Of each setting. Number k is task k mod 10 and, of the initial states that the policy has not seen, "
            "number k div 10: up to 100 for kvlab's checkpoints, 500 for published ones."
        ),
    ] = 100,
    suite: Annotated[str, typer.Option(help="LIBERO suite.")] = "libero_spatial",
    seed: Annotated[int, typer.Option(help="Of the episodes; 0 is what the book records.")] = 0,
    gl: Annotated[str, typer.Option(help="What draws: software (Mesa) or hardware (a GPU).")] = "software",
    folder: Annotated[Path, typer.Option(help="Where episodes are recorded.", show_default="data/runs")] = DATA
    / "runs",
    workers: Annotated[int, typer.Option(min=1, help="Processes, or actors of one CPU each.")] = 2,
    backend: Annotated[
        str,
        typer.Option(
            help="Where: processes of this machine, or ray: actors of the Ray cluster that RAY_ADDRESS names or `ray "
            "start` began here, else of one begun for this run."
        ),
    ] = "processes",
    real_time: Annotated[
        str | None,
        typer.Option(
            help="The world does not wait: 200ms, what a full inference takes; then, if wanted, whose stages it has "
            "(cpu or h100), and hold, if the robot stands still meanwhile."
        ),
    ] = None,
    evaluation: Annotated[
        str, typer.Option(help="Whose frames, states, step limits and executed actions: kvlab, openpi or lerobot.")
    ] = "kvlab",
    config: Config = None,
    tokenizer: Tokenizer = None,
    statistics: Statistics = None,
    device: Device = "cpu",
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would run, and how long it would take.")] = False,
) -> None:
    """Run settings on the same episodes with the same noise; what is recorded already is read and not run again.

    A setting is `none` (the control, which never reuses) or `MODE when GATE`, as in `full when vision >= 0.985`, and
    what differs from the default after that, in this order, as in `none seeing black steps=2 execute=10`.

    MODE: full, prefix, one of vision_only, state_only, layer_wise, text_fixed with :skip or :splice after it; chunk,
    which goes on in the chunk that is there, without any inference, while enough of it is left; or tokens:skip,
    tokens:splice, tokens:fuse, which keep single image tokens (VLA-Cache, TTF-VLA), as many by another rule in
    tokens(random):skip, (raster), (static) or (inverse), all from layer 2 on in tokens[2:]:skip, and as published in
    tokens@previous:skip.

    GATE: always, never, every(4), or comparisons joined by &: vision, pixels or state >= a threshold in [-1, 1]
    (compared with the last computed replan; vision@previous with the one before), age < a number of replans. A
    threshold may be adaptive: vision >= 0.9 if gripper < 1 and curvature < 0.5 and spread < 0.2 else 0.99. By itself,
    gripper < 1 recomputes where the gripper's command changes. distance <= 0.3: how far the state is from that of the
    last computed replan. settled <= 0.1: how far the end points of the last chunk's next actions moved while it was
    denoised. verify <= 0.15 (of chunk, prefix, full): how far one look of the expert moves them now.

    AFTER THAT: seeing masked (no image tokens), black, frozen (the first frames), shuffled (another task's), or what
    was there k replans ago: late(vision, k), late(state, k), late(all, k). steps=K: denoising steps. execute=N: actions
    executed of each chunk; execute=settled(0.1): those whose end points had settled.

    PUBLISHED CHECKPOINTS of Pi0 and Pi0.5, LeRobot's or openpi's converted to PyTorch, need an --evaluation. What
    their config.json leaves out is given by --config: discrete_state_input of an openpi Pi0.5 (false in pi05_libero),
    extra_delta_transform of an openpi Pi0 (true in pi0_libero), lerobot_version of a LeRobot Pi0.5, whose releases
    before 0.5 write another prompt; and what it says is changed: n_action_steps (LeRobot's own commands take 10),
    rename_map where cameras have other names.
    """
    from kvlab.evidence.rows import of_setting
    from kvlab.study.protocol import Protocol
    from kvlab.study.settings import parse_setting
    from kvlab.study.study import Study

    settings = tuple(parse_setting(text) for text in setting)
    given = {"entries": _entries(config, statistics), "tokenizer": tokenizer or ""}
    protocol = Protocol.of(evaluation, suite=suite, gl=gl, device=device, real_time=real_time, **given)
    study = Study(checkpoint, settings, episodes, protocol, seed, folder)
    if plan:
        typer.echo(study.plan().to_string())
        typer.echo(study.estimate(workers))
        return
    with _resumable():
        records = study.run(workers, backend)
        for one in study.settings:
            typer.echo(f"{one}: {_outcome(of_setting(records.episodes, one))}")


@app.command()
def serve(
    checkpoint: Checkpoint,
    setting: Annotated[str, typer.Option(help="As of `kvlab run`, such as `prefix when every(2) steps=2`.")] = "none",
    protocol: Annotated[
        str, typer.Option(help="openpi: what its client speaks; vla-eval: vla-evaluation-harness.")
    ] = "openpi",
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    api_key: Annotated[str | None, typer.Option(envvar="KVLAB_API_KEY", help="What clients have to know.")] = None,
    log: Annotated[
        Path | None, typer.Option(help="Folder for a line of JSON of each answer, with every signal; none without it.")
    ] = None,
    config: Config = None,
    tokenizer: Tokenizer = None,
    statistics: Statistics = None,
    device: Device = "cpu",
    numerics: Annotated[
        str, typer.Option(help="portable: the bits of `kvlab run`; native: faster on a CPU, other last bits.")
    ] = "portable",
) -> None:
    """Serve a policy that reuses to clients that people already have, each connection with a cache of its own.

    OPENPI: observation/image and observation/wrist_image (uint8, turned by 180 degrees), observation/state and prompt,
    as its LIBERO client sends them; cameras of other names are observation/NAME. The answer has the whole chunk under
    actions. Its protocol does not say where an episode begins: kvlab takes a new connection, another prompt, a jump of
    the hand and its return to the start for one, and computes. Clients that know better send session_id or
    __reset_policy_state__ with each observation, or {endpoint: reset} before an episode; those reuse more.

    VLA-EVAL: `vla-eval run --no-docker` with `server: {url: ws://127.0.0.1:8000}`.
    """
    from kvlab.numerics import variables

    os.environ.update(variables(numerics))  # before anything imports torch or numpy
    from kvlab.serve import Served, running
    from kvlab.study.settings import parse_setting

    entries = json.dumps(_entries(config, statistics))
    options = {"entries": entries, "numerics": numerics, "tokenizer": tokenizer or ""}
    served = Served.load(checkpoint, parse_setting(setting), device, log_signals=log is not None, **options)

    async def until_interrupted() -> None:
        async with running(served, protocol, host, port, api_key, log) as listens:
            typer.echo(f"kvlab serves {served.name}, {served.setting}, by {protocol} on ws://{host}:{listens}")
            await asyncio.Event().wait()

    try:
        asyncio.run(until_interrupted())
    except KeyboardInterrupt:
        typer.echo("kvlab: stopped", err=True)


def _entries(config: list[str] | None, statistics: Path | None = None) -> dict[str, object]:
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


def _outcome(rows: "pd.DataFrame") -> str:
    from kvlab.evidence.stats import rate_interval

    errors, replans = rows["error"].dropna(), rows["replans"].sum()
    said = f"reuse rate {rows['reused'].sum() / max(replans, 1):.3f} of {replans} replans, {len(errors)} errors"
    if ended := len(rows) - len(errors):
        rate = rate_interval(int(rows["success"].sum()), ended, method="wilson")
        low, high = (f"{100 * bound:.0f}" for bound in (rate.low, rate.high))
        said = f"success {rate.estimate * ended:.0f}/{ended} (95 % Wilson interval {low} to {high} %), {said}"
    return said + "".join(f"; {error}" for error in errors.unique())


@app.command()
def bench(
    checkpoint: Checkpoint = DATA / "checkpoints" / "mini_spatial",
    device: Annotated[
        str, typer.Option(help="cpu, or cuda: in bfloat16, eager beside the engine, on random observations.")
    ] = "cpu",
    preset: Annotated[
        str | None, typer.Option(help="On cuda, not of a checkpoint but with random weights: mini, base or base_pi05.")
    ] = None,
    rollouts: Annotated[bool, typer.Option(help="Measure whole rollouts instead, against plain loops.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of the policy, or of what prepares its frames.")] = 2,
    episodes: Annotated[int, typer.Option(min=1, help="One of each of the first tasks.")] = 3,
    repeats: Annotated[int, typer.Option(min=1, help="How often each episode is measured.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder for the rows and how they were made.")] = None,
    config: Config = None,
    tokenizer: Tokenizer = None,
    statistics: Statistics = None,
) -> None:
    """Measure inference by stage, setting by setting, on observations of real episodes; on a machine that does nothing
    else.

    With --rollouts: control steps per second of whole episodes, beside plain loops that draw at every step.

    With --device cuda: how far the engine's answers are from the eager ones and from float32 in every mode; 20 x
    --repeats inferences of each setting, and without reuse of the eager model in one CUDA graph, as it is and compiled;
    what the GPU could do at best, its memory and the time to load; and for the preset base, where LeRobot is installed,
    its time, compiled and not.
    """
    import torch

    torch.set_num_threads(threads)
    given = {"entries": _entries(config, statistics), "tokenizer": tokenizer}
    if device == "cuda":
        if rollouts:
            raise ValueError("--rollouts measures on the CPU: leave --device out")
        return _bench_on_gpu(checkpoint, preset, repeats, out, given)
    if device != "cpu" or preset:
        raise ValueError(
            f"the device is cpu or cuda, and --preset goes with --device cuda; got {device!r} and {preset!r}"
        )
    from kvlab.bench import latency, throughput
    from kvlab.pi0 import load
    from kvlab.study.facts import machine, write
    from kvlab.study.observations import record

    policy = load(checkpoint, **given)
    facts = {"command": shlex.join(["kvlab", *sys.argv[1:]]), **machine(checkpoint)}
    if facts["load_average"] > latency.QUIET:
        typer.echo(f"kvlab: the load average is {facts['load_average']}: other work slows what is measured", err=True)
    if rollouts:
        rows = throughput.measure(checkpoint, episodes, repeats, threads)
        typer.echo(throughput.table(throughput.by_loop(rows)))
    else:
        rows = latency.replay(policy, record(policy, episodes), latency.settings(policy.config), repeats)
        typer.echo(latency.table(latency.by_stage(rows)))
    if out is not None:
        write(out, "rollouts" if rollouts else "inference", rows, facts)


def _bench_on_gpu(
    checkpoint: Path, preset: str | None, repeats: int, out: Path | None, given: dict[str, object]
) -> None:
    import pandas as pd
    import torch

    from kvlab.bench import gpu, latency, peers
    from kvlab.pi0 import PRESETS, load
    from kvlab.study.facts import write

    if not torch.cuda.is_available():
        raise ValueError("--device cuda is asked for, but torch finds no CUDA GPU on this machine")
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: it is one of {', '.join(PRESETS)}")
    random = gpu.random_policy(PRESETS[preset]) if preset else None
    policy = random or load(checkpoint, "cuda", torch.bfloat16, **given)
    errors = gpu.agreement(policy)
    typer.echo(errors.to_string(index=False))
    rows, facts = gpu.report(policy, gpu.of_both(policy.config), runs=20, rounds=repeats)
    rows = pd.concat([rows, peers.in_one_graph(policy, runs=20, rounds=repeats)])
    for implementation, table in gpu.by_implementation(rows).groupby(level=0, sort=False):
        typer.echo(f"{implementation}: {latency.table(table.droplevel(0))}")
    typer.echo("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
    made = {"command": shlex.join(["kvlab", *sys.argv[1:]]), "policy": preset or str(checkpoint)} | facts
    made["engine_error"], name = float(errors.error.max()), f"gpu_{preset}" if preset else "gpu"
    if out is not None:
        write(out, name, rows, made)
        errors.to_csv(out / f"{name}_errors.csv", index=False, float_format="%.3g")
    made |= (theirs := peers.lerobot(policy.config))  # at last: to compile it takes minutes
    typer.echo("\n".join(f"{name}: {fact}" for name, fact in theirs.items()))
    if out is not None:
        write(out, name, rows, made)
        peers.add_machine(out / f"{name}_machines.csv", rows, made)


@contextmanager
def _resumable(then: str = "what was finished is kept, and the same command goes on from there") -> Iterator[None]:
    """Ctrl-C inside says what becomes of the work: as a rule it goes on where it was."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"kvlab: interrupted; {then}", err=True)
        raise typer.Exit(130) from None


def program() -> None:
    """The program `kvlab`: what a user got wrong ends in one sentence, not in a traceback."""
    try:
        app()
    except (ValueError, OSError, MemoryError, ModuleNotFoundError) as error:
        sys.exit(f"kvlab: {error}")
    except BrokenProcessPool:
        sys.exit("kvlab: a worker process was killed; what was finished is kept, the same command goes on from there")
