"""How a table was made, written beside it: the machine, the versions and the command."""

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch

from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.study.origin import origin


def machine(checkpoint: Path) -> dict[str, object]:
    """What a time depends on besides the code: the machine, threads, versions, weights, and how busy the machine is."""
    return {
        **asdict(origin()),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("mujoco", "robosuite")},
        "checkpoint": checkpoint_digest(checkpoint),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write(out: Path, name: str, rows: pd.DataFrame, facts: dict[str, object]) -> None:
    """`name`.csv with the rows and `name`.json with how they were made."""
    out.mkdir(parents=True, exist_ok=True)
    rows.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    (out / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
