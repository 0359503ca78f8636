"""Policies in int8 measured against one in float32: same moments, same noise, each weight counted once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kvlab.bench.precision import FLOATS, compare, weights_in_memory
from kvlab.pi0 import load, save
from kvlab.pi0.int8 import PRECISIONS
from kvlab.study.observations import Episode
from small import observed


@pytest.fixture(scope="module")
def policies(untrained, tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("int8"), {FLOATS: load(untrained)}
    for precision in PRECISIONS:
        save(made[FLOATS], folder / precision, precision=precision)
    return made | {precision: load(folder / precision) for precision in PRECISIONS}


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return observed("pick up the black bowl", 8)


def test_each_precision_is_compared_with_float32_at_the_same_moments(policies, episodes):
    rows = {row["precision"]: row for row in compare(policies, episodes, repeats=2)}
    assert {row["n"] for row in rows.values()} == {2 * 3}
    assert rows[FLOATS]["error"] == rows[FLOATS]["error_executed"] == 0 and rows[FLOATS]["ratio"] == 1
    assert all(0 < rows[name]["error"] < rows[FLOATS]["other_noise"] for name in PRECISIONS)
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in rows.values())


def test_errors_are_in_standard_deviations_of_the_actions(policies, episodes):
    def error(scale: float) -> float:
        scaled = {name: replace(p, stats={**p.stats, "action_std": np.full(7, scale)}) for name, p in policies.items()}
        return compare(scaled, episodes, repeats=1)[1]["error"]

    assert error(3) == pytest.approx(error(1), rel=1e-4)


def test_weights_are_counted_in_the_form_in_which_they_are_held(policies):
    floats, weights, activations = map(weights_in_memory, (policies[n].model for n in (FLOATS, *PRECISIONS)))
    assert floats == weights == sum(p.nbytes for p in policies[FLOATS].model.parameters())
    linear = torch.nn.Module()
    linear.again, linear.weight = np.zeros((2, 3), np.float32), torch.nn.Parameter(torch.zeros(5))
    linear.view = linear.weight.detach().numpy()
    assert weights_in_memory(linear) == 4 * (6 + 5)
    assert activations < floats
