"""What the command line does with a policy: run it in LIBERO, serve it, measure it. `kvlab.cli` has these commands."""

import asyncio
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kvlab.options import Checkpoint, Config, Device, Statistics, Tokenizer, entries, resumable
from kvlab.paths import DATA

if TYPE_CHECKING:
    import pandas as pd


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
    which goes on in the chunk that is there, without any inference, while enough of it is left; repeat, which begins it
    again; or tokens:skip, tokens:splice, tokens:fuse, which keep single image tokens (VLA-Cache, TTF-VLA), as many by
    another rule in tokens(random):skip, (raster), (static) or (inverse), all from layer 2 on in tokens[2:]:skip, and as
    published in tokens@previous:skip.

    GATE: always, never, every(4), every(4, 3), which computes the first three of four, or comparisons joined by &:
    vision, pixels or state >= a threshold in [-1, 1] (compared with the last computed replan; vision@previous with the
    one before), age < a number of replans. A threshold may be adaptive: vision >= 0.9 if gripper < 1 and curvature <
    0.5 and spread < 0.2 else 0.99. By itself, gripper < 1 recomputes where the gripper's command changes. distance <=
    0.3: how far the state is from that of the last computed replan. settled <= 0.1: how far the end points of the last
    chunk's next actions moved while it was denoised. verify <= 0.15 (of chunk, prefix, full): how far one look of the
    expert moves them now.

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
    given = {"entries": entries(config, statistics), "tokenizer": tokenizer or ""}
    protocol = Protocol.of(evaluation, suite=suite, gl=gl, device=device, real_time=real_time, **given)
    study = Study(checkpoint, settings, episodes, protocol, seed, folder)
    if plan:
        typer.echo(study.plan().to_string())
        typer.echo(study.estimate(workers))
        return
    with resumable():
        records = study.run(workers, backend)
        for one in study.settings:
            typer.echo(f"{one}: {_outcome(of_setting(records.episodes, one))}")


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

    told = json.dumps(entries(config, statistics))
    options = {"entries": told, "numerics": numerics, "tokenizer": tokenizer or ""}
    served = Served.load(checkpoint, parse_setting(setting), device, log_signals=log is not None, **options)

    async def until_interrupted() -> None:
        async with running(served, protocol, host, port, api_key, log) as listens:
            typer.echo(f"kvlab serves {served.name}, {served.setting}, by {protocol} on ws://{host}:{listens}")
            await asyncio.Event().wait()

    try:
        asyncio.run(until_interrupted())
    except KeyboardInterrupt:
        typer.echo("kvlab: stopped", err=True)


def _outcome(rows: "pd.DataFrame") -> str:
    from kvlab.evidence.stats import rate_interval

    errors, replans = rows["error"].dropna(), rows["replans"].sum()
    said = f"reuse rate {rows['reused'].sum() / max(replans, 1):.3f} of {replans} replans, {len(errors)} errors"
    if ended := len(rows) - len(errors):
        rate = rate_interval(int(rows["success"].sum()), ended, method="wilson")
        low, high = (f"{100 * bound:.0f}" for bound in (rate.low, rate.high))
        said = f"success {rate.estimate * ended:.0f}/{ended} (95 % Wilson interval {low} to {high} %), {said}"
    return said + "".join(f"; {error}" for error in errors.unique())


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
    --repeats inferences of each setting, by the engine at 5, 2 and 1 denoising steps besides, and without reuse of the
    eager model in one CUDA graph, as it is and compiled;
    what the GPU could do at best, its memory and the time to load; and for the preset base, where LeRobot is installed,
    its time, compiled and not.
    """
    import torch

    torch.set_num_threads(threads)
    given = {"entries": entries(config, statistics), "tokenizer": tokenizer}
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
    eight = gpu.measure(policy, [latency.CONTROL], runs=20, rounds=repeats, by=[gpu.EIGHT])
    rows = pd.concat([rows, eight, peers.in_one_graph(policy, runs=20, rounds=repeats)])
    for implementation, table in gpu.by_implementation(rows).groupby(level=0, sort=False):
        typer.echo(f"{implementation}: {latency.table(table.droplevel(0))}")
    typer.echo("\n".join(f"{name}: {fact}" for name, fact in facts.items()))
    made = {"command": shlex.join(["kvlab", *sys.argv[1:]]), "policy": preset or str(checkpoint)} | facts
    fewer = gpu.measure(policy, gpu.at_fewer_steps(policy.config), runs=20, rounds=repeats, by=["engine"])
    typer.echo(f"denoising steps, ms\n{gpu.by_steps(pd.concat([rows, fewer])).round(2).to_string()}")
    made["engine_error"], name = float(errors.error.max()), f"gpu_{preset}" if preset else "gpu"
    if out is not None:
        write(out, name, rows, made)
        fewer.to_csv(out / f"{name}_steps.csv", index=False, float_format="%.6g")
        errors.to_csv(out / f"{name}_errors.csv", index=False, float_format="%.3g")
    made |= (theirs := peers.lerobot(policy.config))  # at last: to compile it takes minutes
    typer.echo("\n".join(f"{name}: {fact}" for name, fact in theirs.items()))
    if out is not None:
        write(out, name, rows, made)
        peers.add_machine(out / f"{name}_machines.csv", rows, made)


def audit(
    dataset: Annotated[Path, typer.Argument(help="Folder of a LeRobot dataset (format v3), as `kvlab export` writes.")],
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="Folder for tables, figure and page, which must not be there yet.")],
    setting: Annotated[
        list[str] | None, typer.Option(help="As of `kvlab run`; repeatable. By default nine that show most.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Of the dataset, evenly spread over it.")] = 5,
    config: Config = None,
    tokenizer: Tokenizer = None,
    statistics: Statistics = None,
    device: Device = "cpu",
) -> None:
    """Replay a recorded dataset through the policy, without a simulator: what would reuse, and what would it change?

    Writes index.html (one page that needs nothing else), audit.svg, settings.csv and replans.csv. For each setting: the
    share of replans at which its gate allows reuse, how far the chunks of actions are from those computed at the same
    frames from the same noise, and milliseconds. The replay is open loop: what is seen does not answer to what the
    policy does, so agreement here is not success. The page says how well it foretold success where both are recorded.
    """
    # Before torch is imported: where others use the cores, threads that spin while they wait take ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from kvlab.audit.dataset import Dataset
    from kvlab.audit.page import write
    from kvlab.audit.replay import DEFAULT, NO_REUSE, Replay
    from kvlab.serve import Served

    if out.exists():
        raise FileExistsError(f"{out} is there already: remove it, or name another folder for the audit")
    source = Dataset.open(dataset)  # before the weights, which take long
    given = {"entries": json.dumps(entries(config, statistics)), "tokenizer": tokenizer or ""}
    served = Served.load(checkpoint, NO_REUSE, device, **given)
    replay = Replay.of(source, served, setting or DEFAULT, episodes)
    with resumable("nothing is written, and the same command begins anew"):
        typer.echo(replay.plan())
        settings = write(out, replay, replay.run(), shlex.join(["kvlab", *sys.argv[1:]]))
    typer.echo(settings.round(3).to_string())
    typer.echo(f"Agreement offline is not success: {out / 'index.html'} says how well it foretold it.")
