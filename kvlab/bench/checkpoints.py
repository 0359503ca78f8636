"""What other checkpoints, and int8, take on a CPU: each beside the recorded policy of its suite, at the same moments.

python -m kvlab.bench.checkpoints     measures those in data/checkpoints and writes data/latency/checkpoints

Two threads and native numerics, as in the table of `kvlab bench` whose times a ratio is applied to
(`kvlab.study.times.of_checkpoints`).
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from kvlab.bench.latency import QUIET, compared, take_turns, without_reuse
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.pi0 import Policy, load, save
from kvlab.pi0.checkpoint import CONFIG, checkpoint_digest
from kvlab.pi0.int8 import PRECISIONS
from kvlab.study.facts import machine, write
from kvlab.study.observations import record
from kvlab.study.times import OTHERS

THREADS, EPISODES, REPEATS = 2, 2, 2


def policies(checkpoint: Path) -> dict[str, Policy]:
    """By name: the recorded policy of a suite, the others beside its folder that were trained on that suite, and
    itself in each of `int8.PRECISIONS`.
    """
    first = load(checkpoint)
    found = {checkpoint.name: first}
    for folder in sorted(file.parent for file in checkpoint.parent.glob(f"*/{CONFIG}")):
        if folder != checkpoint and (other := load(folder)).trained_on.get("suites") == first.trained_on.get("suites"):
            found[folder.name] = other
    with TemporaryDirectory() as made:
        for precision in PRECISIONS:
            save(first, Path(made, precision), precision=precision)
            found[precision] = load(Path(made, precision))
    return found


def measure(suite: str, checkpoint: Path) -> list[dict]:
    """One row for each of `policies`: suite, policy, and as `latency.compared` with the recorded policy."""
    beside = policies(checkpoint)
    turns = {name: without_reuse(policy) for name, policy in beside.items()}
    samples = take_turns(turns, record(beside[checkpoint.name], EPISODES), REPEATS)
    rows = compared(samples, checkpoint.name)
    return [{"suite": suite, "policy": row.pop("setting")} | row for row in rows]


def main() -> None:
    """Measure all, suite by suite, in this process, and write the table with how it was made."""
    torch.set_num_threads(THREADS)
    if (load_average := os.getloadavg()[0]) > QUIET:
        print(f"the load average is {load_average:.2f}: other work slows what is measured", file=sys.stderr)
    facts, rows = {"command": "python -m kvlab.bench.checkpoints"}, []
    for suite, checkpoint in CHECKPOINTS.items():
        facts[suite] = machine(checkpoint)
        rows += measure(suite, checkpoint)
    facts["checkpoints"] = {
        file.parent.name: checkpoint_digest(file.parent) for file in DATA.glob(f"checkpoints/*/{CONFIG}")
    }
    write(OTHERS.parent, OTHERS.stem, pd.DataFrame(rows), facts)


if __name__ == "__main__":
    main()
