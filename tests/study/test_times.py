"""How long a replan takes: stage times that can be added by hand, and the recorded ones against their own totals."""

from dataclasses import replace

import pandas as pd
import pytest

from kvlab.paths import DATA
from kvlab.study import times as times_module
from kvlab.study.settings import parse_setting
from kvlab.study.times import MACHINES, STAGES, Latency, latency
from made import TIMES


@pytest.mark.parametrize(
    ("text", "computed", "reused"),
    [
        ("full when every(2)", 71, 41),  # nothing is compared
        ("full when pixels >= 0.9", 72, 42),
        ("full when vision >= 0.9", 73, 53),  # the gate needs the image encoder
        ("full when vision >= 0.9 & state >= 0.9", 73, 53),
        ("prefix when vision >= 0.9", 73, 57),
        ("prefix when pixels >= 0.9 & age < 3", 72, 46),
        ("vision_only:splice when pixels >= 0.9", 72, 72),  # nothing is saved
    ],
)
def test_a_replan_is_the_sum_of_its_stages(text, computed, reused):
    setting = parse_setting(text)
    assert TIMES.replan_ms(setting, allowed=False) == computed
    assert TIMES.replan_ms(setting, allowed=True) == reused


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "layer_wise[2:]:skip when vision >= 0.9",
            r"no time of the mode `layer_wise\[2:\]:skip` on a machine; timed are full, pre",
        ),
        ("full when vision >= 0.9 if spread < 0.3 else 0.99", "measure their spread, of which there is no time"),
    ],
)
def test_what_was_not_timed_is_said(text, says):
    with pytest.raises(ValueError, match=says):
        TIMES.replan_ms(parse_setting(text), allowed=True)
    with pytest.raises(ValueError, match="no machine is called 'toaster'; times are recorded of cpu, h100"):
        latency("toaster")


FURTHER = {  # measured on a machine half as fast as that of TIMES
    "none": [2, 20, 40, 80],
    "full when pixels >= -1": [999, 999, 999, 999],  # known already
    "full when verify <= 1000": [12, 0, 0, 80],
    "tokens:skip when pixels >= -1": [4, 20, 30, 80],
    "tokens[1:]:skip when pixels >= -1": [4, 20, 20, 80],
    "tokens:splice when pixels >= -1": [4, 20, 60, 80],
    "tokens:fuse when pixels >= -1": [4, 20, 50, 80],
}


@pytest.mark.parametrize(
    ("text", "computed", "reused"),
    [
        ("full when pixels >= 0.9", 72, 42),
        ("tokens:skip when pixels >= 0.9", 72, 67),
        ("tokens@previous:skip when always", 71, 66),
        ("tokens(random):skip when always", 71, 66),  # by another rule, as many
        ("tokens[2:]:skip when always", 71, 61),
        ("tokens:splice when always", 71, 81),  # computed twice over, to know what to keep
        ("tokens(static)[2:]:splice when always", 71, 81),
        ("tokens:fuse when always", 71, 76),
        ("prefix when verify <= 0.1", 76, 50),
        ("chunk when verify <= 0.1", 76, 6),
        ("chunk when settled <= 0.1", 71, 1),
        ("chunk when distance <= 0.1", 71, 1),
        ("repeat when every(4, 3)", 71, 0),
        ("full when gripper < 1", 71, 41),
    ],
)
def test_what_a_later_table_adds_is_in_proportion_to_no_reuse_there(text, computed, reused):
    further = pd.DataFrame(FURTHER, STAGES).T
    times = Latency("a machine", times_module._joined(TIMES.stages, further))
    setting = parse_setting(text)
    assert (times.replan_ms(setting, allowed=False), times.replan_ms(setting, allowed=True)) == (computed, reused)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("none", 71),
        ("none steps=2", 2 + 9 + 18 + 7),  # timed: all of its stages, in place of 31 and a fifth of 40
        ("prefix when pixels >= 0.9 steps=2", 3 + 5 + 7),
        ("none steps=5", 31 + 20),  # not timed
        ("none steps=1", 31 + 4),
        ("chunk when settled <= 0.1 steps=2", 2),
    ],
)
def test_replans_of_fewer_steps_take_what_was_timed_or_else_their_proportion(text, ms):
    fewer = {
        "none steps=2": [2, 9, 18, 7],
        "full when pixels >= -1 steps=2": [3, 0, 0, 6],
        "prefix when pixels >= -1 steps=2": [3, 0, 5, 6],
    }
    times = Latency("a machine", pd.concat([TIMES.stages, pd.DataFrame(fewer, STAGES).T]))
    assert times.timed_steps == [2] and TIMES.timed_steps == []
    assert times.replan_ms(parse_setting(text), allowed=not text.startswith("none")) == ms


def test_fewer_steps_stand_in_a_table_beside(tmp_path):
    """As `kvlab bench --out` writes them."""
    for name, setting, ms in (("gpu", "none", 7), ("gpu_steps", "none steps=2", 3)):
        row = {"setting": setting, **{f"ms_{stage}": ms for stage in STAGES}}
        pd.DataFrame([row]).to_csv(tmp_path / f"{name}.csv", index=False)
    times = latency(str(tmp_path / "gpu.csv"))
    assert [times.replan_ms(parse_setting(text), False) for text in ("none", "none steps=2")] == [28, 12]


@pytest.mark.parametrize("setting", ["none", "prefix when pixels >= -1"])
def test_on_a_gpu_fewer_steps_take_what_was_timed(setting):
    """What is kept does not denoise the state token in its first step, up to 0.15 ms that are charged all the same."""
    samples = pd.read_csv(DATA / "latency" / "gpu_base_steps.csv").groupby("setting")["ms_total"].median()
    times = latency("h100")
    assert times.timed_steps == [5, 2, 1] and latency("cpu").timed_steps == []
    for steps in times.timed_steps:
        text = f"{setting} steps={steps}"
        total = times.replan_ms(parse_setting(text), allowed=setting != "none")
        assert total == pytest.approx(samples[text], abs=0.16), text


def test_to_ask_the_expert_is_added_up_where_it_was_not_timed():
    """The state token behind the prefix, 4 ms, and a tenth of the denoising, 4 ms, beside the inputs' 1 ms."""
    setting = parse_setting("prefix when verify <= 0.1")
    assert TIMES.replan_ms(setting, allowed=True) == 9 + 4 + 40
    assert TIMES.replan_ms(replace(setting, denoising_steps=2), allowed=True) == 9 + 4 + 8


def test_tokens_that_were_not_timed_are_said():
    with pytest.raises(ValueError, match="no time of the mode `tokens:skip` on a machine; timed are full, prefix"):
        TIMES.replan_ms(parse_setting("tokens:skip when always"), allowed=True)


def test_a_table_of_ones_own_is_named_by_its_path():
    own = latency(str(DATA / "latency" / "gpu_base.csv"))
    assert own.stages.equals(latency("h100").stages) and own.name == "`gpu_base.csv`"
    with pytest.raises(OSError, match="absent.csv"):
        latency("absent.csv")
    with pytest.raises(ValueError, match="rollouts.csv is no table of `kvlab bench --out`: it lacks ms_denoise, "):
        latency(str(DATA / "latency" / "rollouts.csv"))


@pytest.mark.parametrize("machine", MACHINES)
def test_added_stages_agree_with_the_measured_totals(machine):
    samples = pd.read_csv(DATA / "latency" / f"{MACHINES[machine][1][0]}.csv")
    samples = samples[samples["implementation"] == "engine"] if "implementation" in samples else samples
    times, seen = latency(machine), 0
    for text, rows in samples.groupby("setting"):
        if " & " not in text:  # what watches every similarity is no setting of a study
            total = times.replan_ms(parse_setting(text), allowed=rows["reused"].iloc[0])
            assert total == pytest.approx(rows["ms_total"].median(), rel=0.04), text
            seen += 1
    assert seen >= 8


def test_another_policy_takes_of_each_stage_what_it_took_beside_the_recorded_one(tmp_path):
    told = {"suite": ["a", "a", "b", "b"], "policy": ["first", "small", "second", "small"]}
    stages = {"ms_gate": [1, 1, 1, 1], "ms_vision": [10, 10, 8, 4], "ms_prefill": [20, 10, 4, 4]}
    measured = pd.DataFrame(told | stages | {"ms_denoise": [40, 20, 10, 30]})
    measured.to_csv(tmp_path / "table.csv", index=False)
    found = times_module.of_checkpoints(TIMES, tmp_path / "table.csv")
    none, fewer = parse_setting("none"), parse_setting("none steps=1")
    assert [found[key].replan_ms(none, False) for key in found] == [71, 1 + 10 + 10 + 20, 71, 1 + 5 + 20 + 120]
    assert found["a", "small"].replan_ms(fewer, False) == 1 + 10 + 10 + 2
    with pytest.raises(ValueError, match="no time of the mode"):
        found["a", "small"].replan_ms(parse_setting("full when every(2)"), True)
    assert times_module.of_checkpoints(TIMES, tmp_path / "absent.csv") == {}
