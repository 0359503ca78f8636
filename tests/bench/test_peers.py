"""What else runs Pi0 on a GPU, tried on a small model on this processor, where a graph is its own steps."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from kvlab.bench import gpu, peers
from kvlab.bench.latency import STAGES
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from small import FOR_THE_ENGINE as CONFIG


@pytest.fixture(scope="module")
def policy():
    return gpu.random_policy(CONFIG, "cpu", torch.float32)


@pytest.fixture
def traced(monkeypatch):
    """torch.compile as far as it traces and makes graphs; its kernels take minutes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def test_rows_are_of_no_reuse_and_whole(policy, traced):
    rows = peers.in_one_graph(policy, runs=2, rounds=3)
    ways = ["eager, one CUDA graph", "compiled, one CUDA graph"]
    assert rows.groupby("implementation", sort=False).size().to_dict() == dict.fromkeys(ways, 6)
    assert (rows.ms_total > 0).all() and {*rows.setting} == {"none"} and not rows.reused.any()
    assert not {f"ms_{stage}" for stage in STAGES if stage != "total"} & {*rows}


@pytest.mark.parametrize("compiled", [(), peers.COMPILED])
def test_the_answer_is_that_of_the_policy_and_every_part_is_one_graph(policy, traced, compiled):
    rng, noises = np.random.default_rng(0), np.random.default_rng(0)
    frames, state = gpu.observation(policy, rng)
    acting = CachedPolicy(policy, parse_mode("none"), parse_gate("never"))
    acting._noise = lambda: torch.from_numpy(
        noises.standard_normal((1, CONFIG.chunk, CONFIG.action_dim), dtype=np.float32)
    )
    acting.reset(gpu.prompt(CONFIG), seed=(0,))
    infer = peers._whole(policy, compiled)
    for _ in range(2):  # the second time nothing is compiled any more
        np.testing.assert_allclose(infer(frames, state), acting.act(frames, state)[0], rtol=1e-4, atol=1e-5)
    assert "prefill" not in vars(policy.model)  # the policy itself stays as it is


def test_lerobot_is_measured_for_the_base_preset_only_and_where_it_is(policy, monkeypatch):
    asked = []
    monkeypatch.setattr(peers, "lerobot_ms", lambda config, runs, **way: asked.append(way) or [1.0])
    monkeypatch.setattr(peers, "find_spec", lambda name: name)
    monkeypatch.setattr(peers.metadata, "version", lambda name: "0.6.1")
    assert peers.lerobot(CONFIG) == {} and asked == []
    found = peers.lerobot(peers.PRESETS["base"])
    assert found["lerobot"] == "0.6.1" and found["lerobot_compiled_ms"] == [1.0]
    assert asked == [{}, {"tf32": True}, {"compiled": True}]
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert peers.lerobot(peers.PRESETS["base"]) == {}


def test_a_machine_has_one_place_in_the_table_of_machines(tmp_path):
    path, row = tmp_path / "machines.csv", {"setting": "none", "ms_total": 4.0}
    rows = pd.DataFrame([row | {"implementation": "eager"}, row | {"implementation": "eager", "setting": "full"}])

    def add(processor, ms, **more):
        facts = {"processor": processor, "computed_by": "a GPU", "date": "today"} | more
        peers.add_machine(path, rows.assign(ms_total=[ms, 99.0]), facts)
        return pd.read_csv(path).set_index(["processor", "implementation"]).ms.to_dict()

    assert add("one", 4.0) == {("one", "eager"): 4}
    assert add("other", 5.0, lerobot_ms=[1, 7, 8]) == {
        ("one", "eager"): 4,
        ("other", "eager"): 5,
        ("other", "LeRobot, not compiled"): 7,
    }
    assert add("other", 6.0) == {("one", "eager"): 4, ("other", "eager"): 6}


def test_ways_to_run_it_are_ordered_and_host_bound_ones_range_over_machines():
    rows = pd.DataFrame(
        [
            {"implementation": name, "setting": setting, "ms_total": ms}
            for name, middle in (("eager", 100.0), ("engine", 10.0), ("eager, one CUDA graph", 30.0))
            for setting, factor in (("none", 1), ("full when always", 0.5))
            for ms in (factor * (middle - 1), factor * middle, factor * (middle + 1))
        ]
    )
    facts = {"lerobot_ms": [300.0, 200.0, 400.0]}
    one = peers.implementations(rows, facts, None)
    assert one.ms.to_dict() == {
        "engine": 10,
        "eager, one CUDA graph": 30,
        "eager": 100,
        "LeRobot, not compiled": 300,
    } and list(one.index) == ["engine", "eager, one CUDA graph", "eager", "LeRobot, not compiled"]
    assert one.loc["eager", ["low", "high"]].tolist() == pytest.approx([99.1, 100.9]) and (one.of == 1).all()
    machines = pd.DataFrame(
        {"implementation": ["eager", "eager", "engine", "engine"], "ms": [100.0, 210.0, 10.0, 12.0]}
    )
    two = peers.implementations(rows, facts, machines)
    assert two.loc["eager", ["low", "high", "of"]].tolist() == [100, 210, 2]
    assert two.loc["engine", ["low", "high", "of"]].tolist() == pytest.approx([9.1, 10.9, 1])  # of this run alone
    elsewhere = pd.DataFrame({"implementation": ["LeRobot, not compiled", "eager"], "ms": [350.0, 90.0]})
    lacking = peers.implementations(rows, {}, elsewhere)  # this machine had no LeRobot
    assert lacking.loc["LeRobot, not compiled"].tolist() == [350, 350, 350, 1]
