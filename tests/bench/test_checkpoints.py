"""Checkpoints beside the recorded one of their suite: which they are, and that all are compared with it."""

import shutil

import pytest

from kvlab.bench import checkpoints
from kvlab.pi0.int8 import PRECISIONS
from small import observed


@pytest.fixture
def folder(untrained, tmp_path):
    for name in ("first", "another"):
        shutil.copytree(untrained, tmp_path / name)
    shutil.copytree(untrained, tmp_path / "of_another_suite")
    config = tmp_path / "of_another_suite" / "config.json"
    config.write_text(config.read_text().replace("libero_spatial", "libero_10"))
    return tmp_path


def test_all_of_the_suite_and_int8_are_compared_with_the_first(folder, monkeypatch):
    monkeypatch.setattr(checkpoints, "record", lambda policy, episodes: observed("pick up the black bowl", 8))
    rows = checkpoints.measure("libero_spatial", folder / "first")
    assert [row["policy"] for row in rows] == ["first", "another", *PRECISIONS]
    assert rows[0]["ratio"] == 1 and {row["n"] for row in rows} == {3 * checkpoints.REPEATS}
    assert all(row["suite"] == "libero_spatial" and row["low"] <= row["ratio"] <= row["high"] for row in rows)
    assert all(row[f"ms_{stage}"] > 0 for row in rows for stage in ("vision", "prefill", "denoise"))
