"""vla-evaluation-harness, unchanged and without Docker, runs a task of LIBERO against `kvlab serve`: `make vla-eval`.

Not among what `make test` runs, since its simulator draws both cameras at every control step: some minutes. It draws
stock frames, on which kvlab's policies were not trained; so the episode has to end, and how is only told.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from clients import kvlab_serve
from kvlab.paths import DATA

PROGRAM = Path(sys.prefix) / "vla-eval" / "bin" / "vla-eval"
BENCHMARK = {
    "benchmark": "vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark",
    "episodes_per_task": 1,
    "max_tasks": 1,
    "params": {"suite": "libero_spatial", "seed": 7},
}


def test_the_harness_runs_a_task_by_itself(tmp_path):
    assert PROGRAM.exists(), f"vla-eval is not in {PROGRAM.parent}: `make vla-eval` fetches it from PyPI"
    config, log = tmp_path / "config.yaml", tmp_path / "log"
    served = ("--checkpoint", DATA / "checkpoints" / "mini_spatial", "--setting", "prefix when every(2)")
    with kvlab_serve(*served, "--protocol", "vla-eval", "--log", log) as (port, _):
        url = {"url": f"ws://127.0.0.1:{port}", "timeout": 120}
        config.write_text(yaml.safe_dump({"server": url, "benchmarks": [BENCHMARK]}))
        command = [PROGRAM, "run", "--no-docker", "--config", config, "--output-dir", tmp_path, "--yes"]
        subprocess.run(command, check=True, env=os.environ | {"HOME": str(tmp_path)})
    ((task,),) = (json.loads(path.read_text())["tasks"] for path in tmp_path.glob("*_aggregate.json"))
    (episode,) = task["episodes"]
    assert isinstance(episode["metrics"]["success"], bool)  # of an episode that failed by an error there is none
    rows = pd.concat(pd.read_json(path, lines=True) for path in log.glob("*.jsonl"))
    assert len(rows) == math.ceil(episode["steps"] / 5) and rows["replan"].tolist() == [*range(len(rows))]
    assert rows["reused"].tolist() == [bool(n % 2) for n in range(len(rows))]
