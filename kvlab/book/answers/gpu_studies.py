"""What *Inside the engine* says of many processes on one GPU, each by itself or behind NVIDIA's MPS daemon."""

from pathlib import Path

import pandas as pd

from kvlab.book import tables
from kvlab.book.answers.devices import PROGRAMS

WAYS = {"plain": "each process its own", "mps": "shared by the daemon"}
EXPLAINED = (
    "**Studies on a GPU.** Many processes take turns, unless the daemon of NVIDIA's Multi-Process Service (MPS) "
    "gives all one context: `nvidia-cuda-mps-control -d` before `kvlab run --device cuda --workers 16`, "
    "`echo quit | nvidia-cuda-mps-control` after. Each way ran once: how far chance moves the rate is not known."
)


def read(path: Path) -> pd.DataFrame:
    """Columns `device`, `way` (of WAYS), `processes`, `episodes`, `episodes_per_s`, `replan_ms_p50`, `bits_equal`,
    a row a run; no row where nothing was measured.
    """
    return pd.read_csv(path) if path.exists() else pd.DataFrame({"device": []})


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a run; empty where there is none."""
    return tables.headed(
        [
            {
                "program": PROGRAMS[run.device],
                "GPU context": WAYS[run.way],
                "processes": run.processes,
                "episodes": run.episodes,
                "episodes a second": f"{run.episodes_per_s:.2f}",
                "median replan, ms": "not measured" if pd.isna(run.replan_ms_p50) else f"{run.replan_ms_p50:.1f}",
                "same chunks as without it": "not compared"
                if pd.isna(run.bits_equal)
                else "yes"
                if run.bits_equal
                else "no",
            }
            for run in runs.itertuples()
        ]
    )
