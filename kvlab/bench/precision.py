"""What int8 saves on a CPU, and how far it moves a chunk: each policy against itself in float32, on recorded frames.

python -m kvlab.bench.precision     measures with portable and with native numerics and writes data/latency/precision

The float32 policies are the recorded ones, whose weights are stored in bfloat16; the others are made of them as `kvlab
quantize` does.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from kvlab.bench.latency import compared, take_turns, without_reuse
from kvlab.numerics import NUMERICS
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.pi0 import Policy, load, save
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.pi0.int8 import PRECISIONS, has_exact_products
from kvlab.pi0.weights import WHOLE
from kvlab.sim.workers import by_task
from kvlab.study.facts import machine, write
from kvlab.study.loading import load_policy
from kvlab.study.observations import Episode, record

FLOATS = "float32"
EPISODES, REPEATS = 3, 2


def measure(suite: str, checkpoint: Path, numerics: str) -> tuple[dict, list[dict]]:
    """Where a policy was measured, and one row for float32 and each of `int8.PRECISIONS`: `compare`, and the sizes of
    the file and of the weights in memory (MB). In a worker with these numerics, on one thread.
    """
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        files = {FLOATS: checkpoint} | {precision: Path(folder, precision) for precision in PRECISIONS}
        for precision in PRECISIONS:
            save(load(checkpoint), files[precision], precision=precision)
        policies = {name: load_policy(path, "cpu", numerics=numerics) for name, path in files.items()}
        stored = {name: (path / WHOLE).stat().st_size / 1e6 for name, path in files.items()}
    rows = compare(policies, record(policies[FLOATS], EPISODES), REPEATS)
    for row in rows:  # after the measurement: some weights are put in another form when they are first used
        name = row["precision"]
        row |= {"file_mb": stored[name], "weights_mb": weights_in_memory(policies[name].model) / 1e6}
    facts = machine(checkpoint) | {"exact_int8_products_by_torch": has_exact_products()}
    return facts, [{"suite": suite, "numerics": numerics} | row for row in rows]


def compare(policies: dict[str, Policy], episodes: Sequence[Episode], repeats: int) -> list[dict]:
    """Policies of one model on the same observations with the same noise, one row each, compared with FLOATS.

    `n`, moments; the median of each stage (ms); `ratio` of total times with its interval (`latency.ratio`); and root
    mean squares over moments, actions and their numbers, in standard deviations of the training actions: `error` of the
    chunks, `error_executed` of the actions that are executed, and `other_noise`, what FLOATS itself differs by with
    another noise.
    """
    samples = take_turns({name: without_reuse(policy) for name, policy in policies.items()}, episodes, repeats)
    chunks = {name: _chunks(policy, episodes, 0) for name, policy in policies.items()}
    floats = policies[FLOATS]
    other, executed = _chunks(floats, episodes, 1), floats.conventions.execute

    def distance(these: np.ndarray) -> np.ndarray:
        return np.square((these - chunks[FLOATS]) / floats.stats["action_std"])

    rows = []
    for told in compared(samples, FLOATS):
        far = distance(chunks[name := told.pop("setting")])
        errors = {"error": far.mean() ** 0.5, "error_executed": far[:, :executed].mean() ** 0.5}
        rows.append({"precision": name} | told | errors | {"other_noise": distance(other).mean() ** 0.5})
    return rows


def weights_in_memory(model: torch.nn.Module) -> int:
    """Bytes of all weights that a model holds, in whatever form, each once."""
    held = {}
    for module in model.modules():
        for one in (*module.parameters(recurse=False), *module.buffers(recurse=False), *vars(module).values()):
            if isinstance(one, torch.Tensor | np.ndarray):
                held[one.data_ptr() if isinstance(one, torch.Tensor) else one.ctypes.data] = one.nbytes
    return sum(held.values())


def _chunks(policy: Policy, episodes: Sequence[Episode], seed: int) -> np.ndarray:
    """At every moment of the episodes: (moments, chunk, numbers of an action)."""
    cached, found = without_reuse(policy), []
    for number, episode in enumerate(episodes):
        cached.reset(episode.instruction, (seed, number))
        found += [cached.act(seen.images, seen.state)[0] for seen in episode.seen]
    return np.stack(found)


def main() -> None:
    """Measure both policies with both numerics, one process at a time, and write the table with how it was made."""
    facts, rows = {"command": "python -m kvlab.bench.precision"}, []
    digests = {suite: checkpoint_digest(path) for suite, path in CHECKPOINTS.items()}
    for numerics in NUMERICS:
        jobs = [(n, [(suite, path, numerics)]) for n, (suite, path) in enumerate(CHECKPOINTS.items())]
        for told, some in by_task(measure, jobs, 1, numerics, "policy", numerics=numerics):
            facts[numerics] = told | {"checkpoint": digests}
            rows += some
    write(DATA / "latency", "precision", pd.DataFrame(rows), facts)


if __name__ == "__main__":
    from kvlab.bench.precision import main  # workers find `measure` in this module, not in the program

    main()
