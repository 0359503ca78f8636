"""Studies: the same episodes and the same noise for every setting, each recorded once and never lost or mixed."""

import json
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from kvlab.pi0 import load
from kvlab.reuse import CachedPolicy
from kvlab.sim.suites import STEP_LIMITS
from kvlab.study import study as lab
from kvlab.study import trial
from kvlab.study.loading import load_policy
from kvlab.study.protocol import DEVICES, Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study

NONE, FULL, BLACK = parse_setting("none"), parse_setting("full when vision >= 0.98"), parse_setting("none seeing black")


# Settings, protocols and what a study refuses


@pytest.mark.parametrize(
    "text",
    [
        "none",
        "none seeing black",
        "full when always",
        "prefix when vision >= 0.985 & age < 10 seeing black",
        "layer_wise[1:]:skip when pixels@previous >= 0.99",
        "text_fixed:splice when never",
        "none steps=2 execute=10",
        "none seeing masked execute=settled(0.1)",
        "chunk when verify <= 0.15 & gripper < 1",
        "prefix when every(2) steps=2 execute=10",
        "full when vision >= 0.98 seeing late(all, 2) execute=3",
    ],
)
def test_an_arm_is_read_as_it_is_printed(text):
    assert str(parse_setting(text)) == text and parse_setting(f"  {text}  ") == parse_setting(text)


def test_an_arm_has_one_way_to_be_written():
    assert parse_setting("full  when vision>=0.980") == FULL == Setting("full", "vision >= 0.98")
    assert parse_setting("none when always") == NONE == Setting("none", "every(4)") == Setting("none")
    assert parse_setting("none steps=02 execute=010") == Setting("none", denoising_steps=2, execute=10)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot read the setting '': write `none`, or a mode and a gate"),
        ("fully", "unknown mode 'fully': modes are none, full, prefix"),
        ("fully when always", "unknown mode 'fully'"),
        ("seeing black", "unknown mode 'seeing black'"),
        ("full", "has no gate: write for example `full when vision >= 0.98`"),
        ("vision_only when always", "does not say how: write vision_only:splice or vision_only:skip"),
        ("full when vision >= 1.5", "the threshold 1.5 in 'vision >= 1.5' is outside"),
        ("full when vision > 0.9", "cannot read 'vision > 0.9' in the gate"),
        ("full when always when never", "cannot read 'always when never'"),
        ("full when always seeing stars", "cannot be shown 'stars': there is `live`, `masked`"),
        ("none steps=two", "cannot read steps=two in 'none steps=two': denoising steps are a whole number"),
        ("none execute=0", "cannot read the number of executed actions '0': it is a whole number above 0"),
        ("none execute=5 steps=2", "cannot read the number of executed actions '5 steps=2'"),
        ("none seeing late(vision, 0)", "cannot be shown 'late\\(vision, 0\\)'"),
    ],
)
def test_what_is_wrong_with_an_arm_is_said(text, says):
    with pytest.raises(ValueError, match=says):
        parse_setting(text)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"suite": "libero_kitchen"}, "Unknown suite 'libero_kitchen': known suites are libero_spatial"),
        ({"render": "slow"}, "Unknown render profile 'slow'"),
        ({"replan_every": 0}, "must be above 0, got 0 and 128"),
        ({"size": 0}, "must be above 0, got 5 and 0"),
        ({"gl": "mesa"}, "gl must be one of software, hardware, got 'mesa'"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        Protocol(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"episodes": 0}, "a study of .*untrained has 1 to 100 episodes a setting, got 0"),
        ({"episodes": 101}, "got 101: each task begins from the 10 of 50 initial states on which the policy was not"),
        ({"settings": ()}, "a study needs settings, each once"),
        ({"settings": (FULL, NONE, Setting("full", "vision>=0.980"))}, "a study needs settings, each once"),
        ({"seed": -1}, "a seed is a whole number from 0 on, got -1"),
        ({"protocol": Protocol("libero_goal")}, "was trained on libero_spatial, not on libero_goal"),
        ({"protocol": Protocol(replan_every=9)}, "9 actions are to be executed, but a chunk has 8 actions"),
        ({"settings": (Setting("none", execute=9),)}, "9 actions are to be executed, but a chunk has 8 actions"),
        ({"settings": (Setting("none", denoising_steps=0),)}, "a chunk takes at least 1 denoising step, got 0"),
        ({"settings": (NONE, Setting("none", denoising_steps=2, execute=5))}, r"each once; got \['none', 'none'\]"),
        ({"settings": (Setting("layer_wise[2:]:skip"),)}, "names layers that a prefix of 2 layers does not have"),
        ({"checkpoint": Path("nowhere")}, "there is no folder nowhere"),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_at_once(untrained, changes, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        Study(**{"checkpoint": untrained, "settings": (NONE,), "episodes": 1} | changes)


def edited(checkpoint: Path, to: Path, **changes) -> Path:
    """A copy of a checkpoint whose config says something else (`trained_on` or sizes of the model)."""
    shutil.copytree(checkpoint, to)
    config = json.loads((to / "config.json").read_text())
    config["trained_on"] = changes.pop("trained_on", config["trained_on"])
    config["model"] |= changes
    (to / "config.json").write_text(json.dumps(config))
    return to


def test_a_checkpoint_of_another_shape_is_refused_at_once(untrained, tmp_path):
    """Before any episode: each would be recorded as an error of the simulator."""
    other = edited(untrained, tmp_path / "state", state_dim=5)
    with pytest.raises(ValueError, match="model.safetensors does not fit its config: of another shape"):
        Study(other, (NONE,), 1)
    weights = load_file(other / "model.safetensors")
    (name,) = [n for n, t in weights.items() if t.ndim == 2 and t.shape[1] == 8 and "state" in n]
    save_file(weights | {name: weights[name][:, :5].contiguous()}, other / "model.safetensors")
    stats = json.loads((other / "stats.json").read_text())
    (other / "stats.json").write_text(json.dumps(stats | {"state_mean": [0] * 5, "state_std": [1] * 5}))
    with pytest.raises(ValueError, match=r"of another shape than LIBERO: .* a state of 5 \(8\), actions of 7 \(7\)"):
        Study(other, (NONE,), 1)
    with pytest.raises(ValueError, match=r"cameras agentview, overhead \(there are agentview, wrist\)"):
        Study(edited(untrained, tmp_path / "camera", cameras=["agentview", "overhead"]), (NONE,), 1)
    with pytest.raises(ValueError, match="was trained on no suite, not on libero_spatial"):
        Study(edited(untrained, tmp_path / "toy", trained_on={}), (NONE,), 1)


# Which episodes, and where they are kept


def test_few_episodes_are_the_first_of_many(untrained):
    hundred = Study(untrained, (NONE,), 100).trials()
    assert hundred[:12] == [*((t, 0) for t in range(10)), (0, 1), (1, 1)]
    assert sorted(hundred) == [(t, s) for t in range(10) for s in range(10)]
    for few in (1, 3, 37):
        assert Study(untrained, (NONE,), few).trials() == hundred[:few]


def test_episodes_begin_where_the_checkpoint_was_not_trained(untrained, tmp_path):
    trained_on = json.loads((untrained / "config.json").read_text())["trained_on"]

    def seen(states: object) -> Path:
        folder = tmp_path / str(len([*tmp_path.iterdir()]))
        return edited(untrained, folder, trained_on=trained_on | {"initial_states": states})

    assert Study(seen([]), (NONE,), 500).trials()[490:] == [(t, 49) for t in range(10)]
    assert Study(seen([0, 2]), (NONE,), 11).trials() == [*((t, 1) for t in range(10)), (0, 3)]
    for states, episodes, says in (
        ([0, 2], 481, "1 to 480 episodes a setting, got 481: each task begins from the 48 of 50"),
        ([*range(50)], 1, "1 to 0 episodes a setting, got 1"),
        ([50], 1, r"says it was trained on the initial states \[50\], not on some of 0 to 49"),
        ("10-49", 1, "says it was trained on the initial states 10-49, not on some of 0 to 49"),
    ):
        with pytest.raises(ValueError, match=says):
            Study(seen(states), (NONE,), episodes)


def test_rows_from_states_that_the_policy_has_seen_are_refused(bench, study, make_row):
    study.recording(NONE).add(make_row(state=10))
    with pytest.raises(ValueError, match=r"none_.*has episodes from initial states that the policy has seen: \[10\]"):
        study.run()


def test_a_recording_is_named_by_all_that_determines_its_rows(untrained, tmp_path, monkeypatch):
    study = Study(untrained, (NONE,), 3, folder=tmp_path)

    def path(setting=FULL, **changes):
        return replace(study, **changes).recording(setting).path

    protocols = [{"render": "stock"}, {"size": 64}, {"replan_every": 4}, {"gl": "hardware"}]
    settings = [Setting("prefix", FULL.gate), Setting("full", "vision >= 0.97"), Setting("full", FULL.gate, "black")]
    settings += [replace(FULL, denoising_steps=3), replace(FULL, execute=3)]
    paths = {
        path(),
        *(path(setting) for setting in settings),
        *(path(protocol=Protocol(**p)) for p in protocols),
    }
    retrained = edited(untrained, tmp_path / "retrained")
    for name in ("model.safetensors", "stats.json", "tokenizer.json", "config.json"):
        whole = (retrained / name).read_bytes()
        (retrained / name).write_bytes(whole + b"\n" if name.endswith("json") else whole[:-1] + b"\1")
        paths.add(path(checkpoint=retrained))
    with monkeypatch.context() as patch:
        patch.setitem(STEP_LIMITS, "libero_spatial", 100)
        paths.add(path())
    with monkeypatch.context() as patch:
        patch.setattr(lab, "SETTLING_STEPS", 20)
        paths.add(path())
    with monkeypatch.context() as patch:
        patch.setattr(trial, "versions", lambda: dict.fromkeys(trial.SIMULATOR, "0"))
        paths.add(path())
    with monkeypatch.context() as patch:
        patch.setattr(trial, "episode_inputs", lambda one: {"scene": "0"})
        trial._inputs.cache_clear()
        paths.add(path())
    trial._inputs.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(lab, "DEMONSTRATED", range(20, 50))
        paths.add(path())
    assert len(paths) == 1 + len(settings) + len(protocols) + 9
    same = [path(episodes=100), path(settings=(FULL, NONE)), path(seed=1), path(checkpoint=str(untrained))]
    assert {*same} == {path()}
    (folder,) = {p.parent for p in paths}
    assert folder == tmp_path / "libero_spatial"
    assert study.recording(NONE).key["setting"] == {"mode": "none", "gate": "never"}  # without what is at its default


# Running, with a stand-in for the episodes


class Bench:
    """What would be run, in order, and what comes of it: rows, or an error of the simulator, or an interruption."""

    def __init__(self, make_row, monkeypatch):
        self.ran, self.failing, self.interrupt_at, self.make_row, self.closed = [], set(), None, make_row, False
        monkeypatch.setattr(lab, "by_task", self.by_task)
        monkeypatch.setattr(lab, "run_episode", self.run_episode)

    def by_task(self, work, jobs, *_):
        try:
            for _, many in jobs:
                for arguments in many:
                    yield work(*arguments)
        finally:
            self.closed = True

    def run_episode(self, checkpoint, protocol, index, state, seed, order, setting):
        if self.interrupt_at == len(self.ran):
            raise KeyboardInterrupt
        self.ran.append((index, state, setting))
        row = self.make_row(index, state, setting != NONE, seed) | {"order": order}
        if self.ran[-1] in self.failing:
            row |= {"success": None, "error": "MujocoException: nan", "replan_rows": []}
            row |= dict.fromkeys(("steps", "replans", "reused"), 0)
        return row


def each(trials: list[tuple[int, int]], *settings: Setting) -> list[tuple]:
    """One episode after another, as a worker runs them."""
    return [(*trial, setting) for trial in trials for setting in settings]


@pytest.fixture
def bench(make_row, monkeypatch) -> Bench:
    return Bench(make_row, monkeypatch)


@pytest.fixture
def study(untrained, tmp_path) -> Study:
    return Study(untrained, (NONE, FULL), 11, folder=tmp_path / "runs")


def test_what_is_recorded_is_read_and_never_run_again(bench, study):
    first = study.run()
    assert bench.ran == each(study.trials(), NONE, FULL)
    assert len(first.episodes) == 22 and len(first.replans) == first.episodes["replans"].sum()
    assert [*first.episodes["order"]] == [0] * 11 + [1] * 11
    again = study.run()
    assert len(bench.ran) == 22 and again.episodes.equals(first.episodes)


def test_more_episodes_and_arms_run_only_what_is_new(bench, study):
    replace(study, episodes=3).run()
    replace(study, settings=(NONE, BLACK), episodes=4).run()
    assert bench.ran[6:] == [*each(study.trials()[:3], BLACK), *each([(3, 0)], NONE, BLACK)]
    assert len(replace(study, episodes=2).read().episodes) == 4
    with pytest.raises(ValueError, match=r"15 of 22 episodes are not recorded; run\(\) runs them"):
        replace(study, settings=(FULL, BLACK)).read()


def test_an_interrupted_study_goes_on_where_it_was(bench, study):
    bench.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert study.plan()["recorded"].to_dict() == {str(NONE): 3, str(FULL): 2}
    with pytest.raises(ValueError, match="17 of 22 episodes are not recorded"):
        study.read()
    bench.interrupt_at = None
    study.run()
    assert bench.ran == each(study.trials(), NONE, FULL)


def test_errors_of_the_simulator_are_rows_and_are_tried_again(bench, study):
    bench.failing = {(1, 0, FULL), (0, 1, NONE)}
    found = study.run().episodes
    wrong = found[found["error"].notna()]
    assert [*zip(wrong["task"], wrong["initial_state"], wrong["mode"], strict=True)] == [(0, 1, "none"), (1, 0, "full")]
    assert wrong["success"].isna().all() and (wrong["error"] == "MujocoException: nan").all()
    bench.failing = set()
    assert study.run().episodes["error"].isna().all()
    assert bench.ran[22:] == [(1, 0, FULL), (0, 1, NONE)]


def test_a_seed_is_its_own_episode(bench, study):
    study.run()
    other = replace(study, seed=1)
    with pytest.raises(ValueError, match="22 of 22 episodes are not recorded"):
        other.read()
    assert {*other.run().episodes["seed"]} == {1} and {*study.read().episodes["seed"]} == {0}
    assert len(bench.ran) == 44


def test_of_two_studies_at_once_the_second_waits_and_runs_only_what_the_first_did_not(bench, study, monkeypatch):
    """As two chapters do that are executed side by side."""
    told, found = threading.Event(), []
    monkeypatch.setattr(sys, "stderr", Mock(write=lambda text: "this one waits for it" in text and told.set()))
    second = threading.Thread(target=lambda: found.append(replace(study, settings=(FULL, BLACK)).run()))

    def meanwhile(*arguments):
        if not bench.ran and not second.ident:
            second.start()
            assert told.wait(30) and bench.ran == []
        return bench.run_episode(*arguments)

    monkeypatch.setattr(lab, "run_episode", meanwhile)
    study.run()
    second.join(30)
    assert bench.ran == [*each(study.trials(), NONE, FULL), *each(study.trials(), BLACK)]
    assert len(found[0].episodes) == 22


def test_a_damaged_file_stops_a_study_before_it_runs_anything(bench, study):
    replace(study, episodes=3).run()
    path = study.recording(FULL).path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{path.name} is damaged; delete it and its episodes run again"):
        study.run()
    assert len(bench.ran) == 6 and path.stat().st_size == 200
    path.unlink()
    study.run()
    assert bench.ran[6:10] == [*each(study.trials()[:3], FULL), (3, 0, NONE)]


def test_rows_that_cannot_be_written_end_the_run(bench, study, monkeypatch):
    """The jobs that are left would otherwise run on until the interpreter ends."""

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lab.Recording, "add", full_disk)
    with pytest.raises(OSError, match="No space left") as error:
        study.run()
    assert bench.closed and len(bench.ran) == 1  # while the error still holds on to everything
    del error


def test_rows_of_a_replaced_checkpoint_are_not_recorded(bench, untrained, tmp_path):
    """Processes of the study may have loaded either; a new study is of the new checkpoint."""
    study = Study(edited(untrained, tmp_path / "mine"), (NONE,), 3, folder=tmp_path / "runs")
    more = replace(study, episodes=4)
    study.run()
    shutil.copy(edited(untrained, tmp_path / "other", denoising_steps=3) / "config.json", study.checkpoint)
    with pytest.raises(ValueError, match="mine was replaced while its study ran; start the study again"):
        more.run()
    assert len(more.rows(NONE)) == 3
    assert len(replace(more).rows(NONE)) == 0


def test_a_plan_says_what_would_run_and_how_long(bench, study):
    assert study.estimate(2) == (
        "22 of 22 episodes would be run: about 2 min with 2 workers "
        "(of 8.0 s each, as is assumed, since none is recorded)."
    )
    replace(study, settings=(FULL,), episodes=4).run()
    plan = study.plan()
    assert plan.index.tolist() == [str(NONE), str(FULL)]
    assert plan["recorded"].tolist() == [0, 4] and plan["missing"].tolist() == [11, 7]
    assert study.estimate(1) == (
        "18 of 22 episodes would be run: about 1 min with 1 worker (of 1.2 s each, as 4 recorded episodes of "
        "libero_spatial took)."
    )
    study.run()
    assert study.estimate() == "All 22 episodes are recorded; nothing would be run."
    assert len(bench.ran) == 22


def test_what_waits_is_put_into_files_at_the_end_and_at_the_next_start(bench, study):
    bench.interrupt_at = 5
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert len([*study.folder.glob("*/*/*.parquet")]) == 5 and not [*study.folder.glob("*/*.parquet")]
    (study.recording(NONE).waiting / "task09_state00_seed0.part").touch()
    bench.interrupt_at = 5  # at once
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert [*study.folder.rglob("*")] == [study.folder / "libero_spatial", *study.folder.glob("*/*.parquet")]
    bench.interrupt_at = None
    study.run()
    assert {*study.folder.glob("*/*")} == {study.recording(one).path for one in study.settings}


def test_rows_of_other_numerics_are_not_mixed(bench, study, make_row):
    study.recording(FULL).add(make_row() | {"numerics": "native"})
    with pytest.raises(
        ValueError, match=r"full_\w+.parquet has rows in native numerics, .* record into another folder$"
    ):
        study.run()
    assert bench.ran == []


# Real episodes


@pytest.fixture
def real(untrained, tmp_path, gl, monkeypatch) -> Study:
    """One episode of three replans, the last of three steps, run in this process, as everything comes."""
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 13)
    monkeypatch.setattr(lab, "by_task", lambda work, jobs, *_: (work(*one) for _, many in jobs for one in many))
    settings = (
        NONE,
        parse_setting("full when every(3)"),
        parse_setting("vision_only:skip when state >= -1 seeing black"),
    )
    return Study(untrained, settings, 1, Protocol(gl=gl, numerics="native"), folder=tmp_path / "runs")


def test_arms_in_another_order_give_the_same_rows_out_of_the_same_noise(real, tmp_path, monkeypatch):
    drawn, noise = [], CachedPolicy._noise
    monkeypatch.setattr(CachedPolicy, "_noise", lambda self: drawn.append(noise(self)) or drawn[-1])
    there = real.run()
    back = replace(real, settings=real.settings[::-1], folder=tmp_path / "back").run()
    first, *others = (np.stack(drawn[k : k + 3]) for k in range(0, 18, 3))
    assert len(drawn) == 18 and all(np.array_equal(first, other) for other in others)
    assert not np.array_equal(first[0], first[1])

    timed = ["order", "recorded", "wall_s"]
    for a, b, keys in ((there.episodes, back.episodes, ["mode"]), (there.replans, back.replans, ["mode", "replan"])):
        a, b = (t.drop(columns=timed, errors="ignore").sort_values(keys, ignore_index=True) for t in (a, b))
        assert a.equals(b)

    by_mode = there.replans.groupby("mode")
    assert by_mode["step"].apply(list).tolist() == [[0, 5, 10]] * 3
    assert by_mode["age"].apply(list).to_dict() == {"none": [0] * 3, "full": [0, 1, 2], "vision_only:skip": [0, 1, 2]}
    acted = by_mode["bits"].apply(list)
    # nothing to reuse, but something to see
    assert acted["none"][0] == acted["full"][0] != acted["vision_only:skip"][0]
    assert acted["none"][1] != acted["full"][1]
    assert (by_mode["pixels_anchor"].min() == 1).to_dict() == {"none": False, "full": False, "vision_only:skip": True}
    assert there.episodes["steps"].eq(13).all() and not there.episodes["success"].any()


@pytest.mark.parametrize(("at", "failed"), [(20, 0), (39, 1)])  # each episode has 10 settling steps, and then 13
def test_a_failure_of_the_simulator_is_recorded_as_such_and_tried_again(real, monkeypatch, at, failed):
    """Nothing of the episode before it is in the row."""
    study, step, steps = replace(real, settings=real.settings[:2]), trial.LiberoEnv.step, iter(range(1000))

    def fails_once(env, action):
        if next(steps) == at:
            raise FloatingPointError("unstable")
        return step(env, action)

    monkeypatch.setattr(trial.LiberoEnv, "step", fails_once)
    found = study.run()
    rows = found.episodes.to_dict("records")
    wrong, right = rows[failed], rows[1 - failed]
    assert wrong["error"] == "FloatingPointError: unstable" and pd.isna(wrong["success"])
    assert (wrong["steps"], wrong["replans"], wrong["reused"], wrong["wall_s"]) == (0, 0, 0, 0)
    assert right["success"] is False and (right["steps"], right["replans"]) == (13, 3) and len(found.replans) == 3
    again = study.run()
    assert again.episodes["error"].isna().all() and len(again.replans) == 6


def test_a_machine_that_draws_by_other_means_is_told(real, gl):
    other = "hardware" if gl == "software" else "software"
    study = replace(real, protocol=Protocol(gl=other, numerics="native"))
    with pytest.raises(ValueError, match=f"^the study draws with {other} GL, this machine with .*: set gl to {gl}$"):
        study.run()
    assert not [*study.folder.rglob("*.parquet")]


def test_the_device_says_who_runs_the_model(untrained, monkeypatch):
    """On a machine without a GPU: what is asked of `load` is noted, and loaded on the CPU."""
    asked = []

    def on_the_cpu(*given, **_nothing):
        asked.append(given)
        return load(given[0])

    monkeypatch.setattr("kvlab.study.loading.load", on_the_cpu)
    models = {device: load_policy(untrained, device).model for device in DEVICES}
    assert [type(model).__name__ for model in models.values()] == ["Pi0", "Pi0", "Engine", "Engine"]
    assert not models["engine"].eight and models["engine-fp8"].eight
    assert asked == [(untrained,), *[(untrained, "cuda", torch.bfloat16)] * 3]


def test_rows_that_another_driver_drew_are_not_added(bench, study):
    study.run()
    study, make_row = replace(study, episodes=12), bench.make_row
    bench.make_row = lambda *arguments: make_row(*arguments) | {"drawn_by": "llvmpipe of another Mesa"}
    with pytest.raises(
        ValueError, match="a worker draws by llvmpipe of another Mesa, and this study's rows are by b: "
    ):
        study.run()
    assert len(replace(study, episodes=11).read().episodes) == 22
