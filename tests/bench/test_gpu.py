"""What is measured on a GPU, tried on a small model whose kernels are interpreted on the CPU."""

import copy
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch

from kvlab.bench import gpu
from kvlab.bench.latency import STAGES
from kvlab.pi0 import PRESETS
from kvlab.study.settings import Setting
from small import FOR_THE_ENGINE as CONFIG


@pytest.fixture(scope="module")
def policy():
    return gpu.random_policy(CONFIG, "cpu", torch.float32)


def test_both_implementations_take_their_turn_at_every_setting(policy):
    settings = [Setting("none"), Setting("full", "pixels >= -1")]
    rows = gpu.measure(policy, settings, runs=2, rounds=1)
    assert rows.groupby(["implementation", "setting"]).size().to_dict() == {
        (name, str(setting)): 2 for name in ("eager", "engine") for setting in settings
    }
    assert (rows.reused == (rows.setting != "none")).all()
    assert (rows[["ms_gate", "ms_denoise"]] > 0).all(axis=None)
    assert (rows.ms_vision[rows.reused] == 0).all() and (rows.ms_vision[~rows.reused] > 0).all()
    table = gpu.by_implementation(rows)
    of_none = rows[(rows.implementation == "engine") & (rows.setting == "none")]
    assert table.total_p50["engine", "none"] == pytest.approx(of_none.ms_total.median())
    assert {f"{stage}_p95" for stage in STAGES} < {*table.columns} and (table.n == 2).all()


def test_fewer_denoising_steps_are_measured_in_every_setting(policy):
    settings = gpu.at_fewer_steps(CONFIG)
    modes = {steps: [s.mode for s in settings if s.denoising_steps == steps] for steps in gpu.FEWER}
    assert modes[5] == modes[2] == [s.mode for s in gpu.of_both(CONFIG)] and len(modes[1]) == len(modes[2]) - 1
    rows = gpu.measure(policy, [s for s in settings if s.mode == "none"], runs=1, rounds=1, by=["engine"])
    assert rows.setting.tolist() == [f"none steps={steps}" for steps in gpu.FEWER]
    table = gpu.by_steps(pd.concat([rows, rows.iloc[:1].assign(setting="none", ms_total=7.0)]))
    assert [*table.index] == ["none"] and table.loc["none", [2, 0]].tolist() == [rows.ms_total[1], 7.0]


@pytest.mark.parametrize("pi05", [False, True])
def test_the_engine_agrees_in_every_mode(policy, pi05):
    other = gpu.random_policy(replace(CONFIG, pi05=True), "cpu", torch.float32) if pi05 else policy
    errors = gpu.agreement(other)
    modes = {setting.mode for setting in gpu.of_both(other.config)} | {"layer_wise:splice", "text_fixed:splice"}
    assert {*errors["mode"]} == modes and ("state_only:skip" in modes) is not pi05
    assert (errors.groupby("mode").size() == 3).all() and (errors.error < 1e-5).all()
    assert (errors.engine_float32 == errors.error).all() and (errors.eager_float32 == 0).all()  # eager is in float32
    assert (errors.eight_float32 < 1e-5).all()  # and on a CPU there are no eight bits


def test_what_half_the_bits_cost_is_seen_against_float32(policy, monkeypatch):
    """Triton interprets no bfloat16, so the eager policy stands in for the engine."""
    monkeypatch.setattr(gpu, "accelerate", lambda policy, eight=False: policy)
    half = replace(policy, model=copy.deepcopy(policy.model).to(torch.bfloat16))
    errors = gpu.agreement(half)
    assert (errors.error == 0).all() and (errors.engine_float32 == errors.eager_float32).all()
    assert errors.eager_float32.between(1e-4, 0.1).all() and half.model.action_out.weight.dtype == torch.bfloat16


def test_an_engine_that_answers_something_else_is_seen(policy, monkeypatch):
    right = gpu.accelerate(policy)
    wrong = replace(right, stats={**right.stats, "action_mean": right.stats["action_mean"] + 1})
    monkeypatch.setattr(gpu, "accelerate", lambda _, eight=False: wrong)
    assert (gpu.agreement(policy).error > 0.1).all()


def test_words_that_are_new_are_computed(policy, monkeypatch):
    engine = gpu.accelerate(policy).model
    called = []
    few = engine._few.run
    monkeypatch.setattr(engine._few, "run", lambda *args, **kwargs: (called.append(1), few(*args, **kwargs)))
    assert gpu.new_words_ms(engine, runs=1) > 0
    assert len(called) == 2 + gpu.WARM_UPS  # the images with their words, and then words alone every time


def test_floors_are_those_counted_by_hand():
    """The base preset: SigLIP's 0.41 B numbers, Gemma's 2 B over 560 tokens, and ten times the expert's 0.31 B."""
    table = gpu.floors(PRESETS["base"], bytes_per_ms=3e9, operations_per_ms=7e11)
    assert table.bytes.denoise == 10 * 18 * 2 * (1024 * 2560 + 2048 * 1024 + 3 * 1024 * 4096)
    assert table.bytes.prefill == 2 * (17 * (2048 * 2560 + 2048 * 2048 + 3 * 2048 * 16384) + 2048 * 2560)
    assert table.operations.prefill == pytest.approx(560 * table.bytes.prefill, rel=0.03)  # attention is the rest
    attention = 2 * 2 * 27 * 512 * 256 * 1152
    assert table.operations.vision - attention == pytest.approx(512 * table.bytes.vision, rel=1e-9)
    assert table.bytes.vision == pytest.approx(2 * 0.414e9, rel=0.01)
    assert table.floor_ms.denoise == table.ms_bytes.denoise > table.ms_operations.denoise
    assert table.floor_ms.prefill == table.ms_operations.prefill > table.ms_bytes.prefill
    assert isinstance(table, pd.DataFrame) and list(table.index) == ["vision", "prefill", "denoise"]


def test_a_gpu_is_measured_where_there_is_no_simulator():
    """As far as this machine goes: everything is imported, and the GPU is missed."""
    program = (
        "import sys; sys.modules |= dict.fromkeys(('mujoco', 'robosuite', 'libero', 'kvlab.sim'));"
        "import torch; torch.cuda.is_available = lambda: False;"
        "from kvlab.cli import program; sys.argv = 'kvlab bench --device cuda --preset mini'.split(); program()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "kvlab: --device cuda is asked for, but torch finds no CUDA GPU on this machine"
