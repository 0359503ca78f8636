"""The comparison with LeRobot: what was recorded of it, and the parts of the script that need no LeRobot."""

import json
from itertools import product

import pytest
import torch

from kvlab.bench import parity
from kvlab.paths import DATA

RECORDED = json.loads((DATA / "parity" / "lerobot.json").read_text())


def test_every_case_is_recorded_once():
    cases = [(row["policy"], row["dtype"], row["size"]) for row in RECORDED]
    assert sorted(cases) == sorted(product(("pi0", "pi05"), ("float32", "bfloat16"), ("small", "base")))


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['policy']}-{row['dtype']}-{row['size']}")
def test_the_recorded_errors_are_below_what_is_allowed(row):
    allowed = {"float32": 1e-5, "bfloat16": 2e-2}[row["dtype"]]
    assert row["passed"] and row["allowed"] == allowed
    assert 0 < row["relative_error_of_chunk"] < allowed and 0 < row["relative_error_of_actions"] < allowed
    assert row["lerobot"] == "0.6.1" and row["transformers"].startswith("5.5.") and row["machine"]


@pytest.mark.parametrize("row", [r for r in RECORDED if (r["dtype"], r["size"]) == ("float32", "small")])
def test_an_input_that_was_read_wrongly_would_have_been_seen(row):
    """In float32 another input changes the actions a hundred times as much as is allowed; in bfloat16 it may not."""
    changes = [row[f"change_with_{name}"] for name in parity.INPUTS]
    assert min(changes) > 100 * row["allowed"]


def test_large_tensors_lie_in_files_and_hold_the_same_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(parity, "LARGE", 64)
    x, opened, from_file = torch.randn(8, 8), [], torch.from_file
    monkeypatch.setattr(torch, "from_file", lambda *a, **k: opened.append(k["size"]) or from_file(*a, **k))
    with parity._InFiles(tmp_path):
        linear, small = torch.nn.Linear(8, 16), torch.nn.Linear(2, 2)
        same, other, both = x.to(torch.float32), x.to(torch.bfloat16), torch.cat([x, x])
    assert opened == [128, 64, 128] and list(tmp_path.iterdir()) == []
    assert linear.weight.shape == (16, 8) and small.weight.shape == (2, 2) and same is x
    assert torch.equal(other, x.to(torch.bfloat16)) and torch.equal(both, torch.cat([x, x]))
    assert torch.empty(8, 8).shape == (8, 8) and len(opened) == 3  # over once it is left


def test_a_case_that_is_run_again_replaces_its_row(tmp_path):
    out = tmp_path / "parity" / "rows.json"
    case = {"policy": "pi0", "dtype": "float32", "size": "small", "machine": "here"}
    for change in ({"passed": False}, {"dtype": "bfloat16"}, {"machine": "there"}, {"passed": True}):
        parity._add(out, {"passed": None} | case | change)
    rows = [(row["dtype"], row["machine"], row["passed"]) for row in json.loads(out.read_text())]
    assert rows == [("bfloat16", "here", None), ("float32", "there", None), ("float32", "here", True)]


@pytest.mark.parametrize(("error", "ends"), [(1e-6, None), (1e-3, "some action chunks differ by more than is allowed")])
def test_a_difference_ends_the_script_with_an_error(monkeypatch, tmp_path, error, ends):
    """After every case was run and recorded."""
    told = {"passed": error < 1e-5}
    monkeypatch.setattr(parity, "compare", lambda p, d, s, _: {"policy": p, "dtype": d, "size": s} | told)
    monkeypatch.setattr(parity, "_circumstances", lambda device: {"machine": "here"})
    out = tmp_path / "rows.json"
    monkeypatch.setattr("sys.argv", ["parity", "--sizes", "small", "--dtypes", "float32", "--out", str(out)])
    if ends is None:
        parity.main()
    else:
        with pytest.raises(SystemExit, match=ends):
            parity.main()
    assert [row["policy"] for row in json.loads(out.read_text())] == ["pi0", "pi05"]
