"""In which order to buy: one sentence for every page that recommends a setting."""

import json

import pandas as pd

from kvlab.bench import peers
from kvlab.book import text
from kvlab.book.answers.programs import ENGINE
from kvlab.evidence.cost import CONTROL_STEP_MS
from kvlab.paths import DATA

PEERS = DATA / "latency" / "peers"  # ways to run one policy on a GPU, beside one another


def ways() -> pd.DataFrame:
    """`peers.implementations` of what is recorded."""
    facts, noted = json.loads((PEERS / "gpu_base.json").read_text()), PEERS / "gpu_base_machines.csv"
    machines = pd.read_csv(noted) if noted.exists() else None
    return peers.implementations(pd.read_csv(PEERS / "gpu_base.csv"), facts, machines)


def line(ways: pd.DataFrame, executed: int) -> str:
    """What to buy first and last, and how far the first gets; `executed`, the actions of a chunk."""
    ms, control_steps = ways["ms"], text.count(executed, "control step")
    share = text.percent(ms[ENGINE] / (executed * CONTROL_STEP_MS))
    return (
        "**In this order:** nothing, where no reuse fits your budget; a faster program, which puts no success at "
        "stake; fewer denoising steps; a kept chunk; a KV cache last. On one H100 a full-size policy takes "
        f"{ms[ENGINE]:.0f} ms a replan by the [engine](engine.ipynb), not {ms['eager']:.0f} ms "
        f"([What it saves](saves.ipynb)): {share} of its {control_steps}, without reuse."
    )
