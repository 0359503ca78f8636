"""Numbers in the chapters' text against the recorded rows, counted here without the library that counted them there."""

from functools import cache

import nbformat
import pandas as pd
import pyarrow.dataset as ds
import pytest

from kvlab.lab.paths import BOOK, DATA


@cache
def runs() -> pd.DataFrame:
    columns = ["mode", "gate", "seeing", "task", "initial_state", "seed", "success", "replans", "reused"]
    table = ds.dataset(DATA / "runs" / "libero_spatial", format="parquet").to_table(columns=columns).to_pandas()
    return table[table["seed"] == 0]


def arm(mode: str, gate: str = "never", seeing: str = "live") -> pd.DataFrame:
    rows = runs()
    return rows[(rows["mode"] == mode) & (rows["gate"] == gate) & (rows["seeing"] == seeing)]


def glued(chapter: str) -> dict[str, str]:
    """The values that the text of a chapter quotes, by name."""
    cells = nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells
    outputs = [
        output for cell in cells for output in cell.get("outputs", []) if "scrapbook" in output.get("metadata", {})
    ]
    return {o.metadata["scrapbook"]["name"]: next(iter(o.data.values())).strip("'") for o in outputs}


def test_the_baseline_sweep_quotes_what_was_recorded():
    said, loose = glued("baseline_sweep"), arm("full", "vision >= 0.9")
    assert int(said["control_k"]) == arm("none")["success"].sum()
    assert int(said["blind_k"]) == arm("none", seeing="black")["success"].sum()
    assert int(said["loose_k"]) == loose["success"].sum()
    assert float(said["loose_reuse"]) == pytest.approx(100 * loose["reused"].sum() / loose["replans"].sum(), rel=1e-5)
    safe = arm("full", f"vision >= {float(said['safe_threshold']):g}")
    assert int(said["safe_k"]) == safe["success"].sum()


def test_the_modality_separation_quotes_what_was_recorded():
    said = glued("modality_separation")
    gate = f"vision >= {float(said['mod_loose']):g}"
    named = {"full": "full", "prefix": "prefix", "splice": "vision_only:splice", "vision": "vision_only:skip"}
    named |= {"state": "state_only:skip", "text": "text_fixed:skip"}
    for short, mode in named.items():
        assert int(said[f"mod_{short}_k"]) == arm(mode, gate)["success"].sum(), mode


def test_the_recordings_are_all_counted():
    said = glued("recordings")
    rows = ds.dataset(DATA / "runs", format="parquet").to_table(columns=["error", "replans", "wall_s"]).to_pandas()
    assert int(said["rec_episodes"]) == len(rows) and int(said["rec_replans"]) == rows["replans"].sum()
    assert int(said["rec_errors"]) == rows["error"].count()
    assert float(said["rec_hours"]) == pytest.approx(rows["wall_s"].sum() / 3600, rel=1e-5)


@pytest.mark.parametrize(
    ("mode", "gate"),
    [("none", "never"), ("full", "vision >= 0.985"), ("prefix", "vision >= 0.945"), ("full", "vision >= 0.945")],
)
def test_an_arm_is_ten_tasks_by_ten_held_out_initial_states_each_once(mode, gate):
    """LeRobot's issue 2375: an evaluation that repeated one initial state."""
    rows = arm(mode, gate)
    assert set(zip(rows["task"], rows["initial_state"], strict=True)) == {(t, s) for t in range(10) for s in range(10)}
    assert len(rows) == 100
