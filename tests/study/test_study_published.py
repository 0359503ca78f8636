"""Studies of published checkpoints: what they expect of LIBERO is in the protocol and in the names of cells."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from kvlab.pi0 import Pi0, Pi0Config, published
from kvlab.pi0.names import wanted
from kvlab.reuse import CachedPolicy
from kvlab.sim.published import PUBLISHED_STEP_LIMITS, observe_published
from kvlab.sim.suites import STEP_LIMITS, tasks
from kvlab.study import study as study_module
from kvlab.study import trial
from kvlab.study.protocol import Protocol
from kvlab.study.recordings import tidy
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from small import small_config

NONE = Setting("none")


@pytest.fixture
def size(monkeypatch) -> Pi0Config:
    """What `load` takes for the full size; its state and actions are padded to more than LIBERO's."""
    small = small_config(vocab_size=259, max_tokens=48, state_dim=12, action_dim=12)
    monkeypatch.setattr(published, "FULL_SIZE", small)
    monkeypatch.setattr(published, "STREAMS", {"gemma_2b": small.prefix, "gemma_300m": small.expert})
    monkeypatch.setattr(published, "PROMPT_TOKENS", {False: 120, True: 200})
    return small


@pytest.fixture
def publish(size, tmp_path):
    """Writes a random checkpoint as openpi does: `publish(pi05=True)` gives its folder."""

    def write(pi05: bool = False, state: int = 8, action: int = 7, **config) -> Path:
        folder = tmp_path / f"openpi{len(list(tmp_path.iterdir()))}"
        (folder / "assets" / "libero").mkdir(parents=True)
        torch.manual_seed(0)
        model = Pi0(replace(size, pi05=pi05))
        ours = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        parts = wanted(model.config, {name: tuple(tensor.shape) for name, tensor in ours.items()}, [])
        pieces = {
            name: piece.contiguous()
            for tensor, shapes in parts.items()
            for name, piece in zip(shapes, ours[tensor].split([s[0] for s in shapes.values()]), strict=True)
        }
        save_file(pieces, folder / "model.safetensors")
        spread = {"mean": 0.0, "std": 1.0, "q01": -1.0, "q99": 1.0}
        norms = {k: {s: [v] * n for s, v in spread.items()} for k, n in (("state", state), ("actions", action))}
        (folder / "assets" / "libero" / "norm_stats.json").write_text(json.dumps({"norm_stats": norms}))
        sizes = {"action_dim": size.action_dim, "action_horizon": size.chunk, "paligemma_variant": "gemma_2b"}
        said = {"discrete_state_input": True, "extra_delta_transform": False} | config
        config = {name: value for name, value in said.items() if value != "left out"}
        (folder / "config.json").write_text(json.dumps(sizes | config))
        symbols = ["<pad>", "<eos>", "<bos>", *sorted(ByteLevel.alphabet())]
        tokenizer = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, []))
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return write


# What the protocol says


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluation": "openvla"}, "evaluation must be one of kvlab, openpi, lerobot, got 'openvla'"),
        ({"evaluation": "openpi"}, r"draws stock frames of 256 pixels, not fast ones of 128: write Protocol.published"),
        ({"evaluation": "lerobot", "render": "stock"}, r"not stock ones of 128: write Protocol.published\('lerobot'\)"),
        ({"device": "tpu"}, "device must be one of cpu, cuda, engine, engine-fp8, got 'tpu'"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        Protocol(**changes)


def test_the_key_of_kvlabs_own_protocol_is_as_in_rows_recorded_before():
    assert Protocol().key(NONE) == {
        "suite": "libero_spatial",
        "render": "fast",
        "size": 128,
        "replan_every": 5,
        "gl": "software",
        "step_limit": 220,
    }


def test_published_protocols_name_frames_and_step_limit():
    keys = [Protocol.published(name, device="cuda").key(NONE) for name in ("openpi", "lerobot")]
    for key, name, limit in zip(keys, ("openpi", "lerobot"), (220, 280), strict=True):
        assert (key["render"], key["size"], key["evaluation"], key["step_limit"]) == ("stock", 256, name, limit)
        assert key["device"] == "cuda"
    assert "device" not in Protocol.published("openpi").key(NONE)


# What a study of one is, and what it refuses


def test_the_policys_own_widths_count_and_not_the_padded_ones(publish, tmp_path):
    study = Study(publish(), (NONE,), 1, Protocol.published("openpi"), folder=tmp_path / "runs")
    assert (study.policy.config.state_dim, study.policy.config.action_dim) == (12, 12)
    assert len(study.missing()) == 1
    other = replace(study, protocol=Protocol.published("lerobot"))
    assert other.recording(NONE).path != study.recording(NONE).path


def test_widths_that_are_not_liberos(publish):
    told = r"a state of 7 \(8\), actions of 8 \(7\)"
    with pytest.raises(ValueError, match=told):
        Study(publish(state=7, action=8), (NONE,), 1, Protocol.published("openpi"))


def test_a_checkpoint_is_not_run_under_anothers_conventions(publish, untrained):
    with pytest.raises(
        ValueError, match=r"is one of openpi, which expects other frames, .*: take Protocol.published\("
    ):
        Study(publish(), (NONE,), 1)
    with pytest.raises(ValueError, match="is kvlab's own, and the evaluation lerobot would mislead it"):
        Study(untrained, (NONE,), 1, Protocol.published("lerobot"))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("state_only:skip when always", "keeps the state token, but Pi0.5 has none"),
        ("text_fixed:skip when always", "needs a prompt that stays the same, and this model's holds the state"),
    ],
)
def test_arms_that_pi05_cannot_run_are_refused_at_once(publish, setting, says):
    with pytest.raises(ValueError, match=says):
        Study(publish(pi05=True), (NONE, parse_setting(setting)), 1, Protocol.published("openpi"))


def test_a_gate_on_a_state_that_the_policy_never_sees(publish):
    folder, setting = (
        publish(pi05=True, discrete_state_input=False),
        parse_setting("full when vision >= 0.9 & state >= 0.9"),
    )
    with pytest.raises(ValueError, match="compares the state, and this Pi0.5 has none"):
        Study(folder, (setting,), 1, Protocol.published("openpi"))


def test_a_hub_id_is_studied_as_what_is_fetched(publish, monkeypatch, tmp_path):
    folder = publish()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: {"somebody/pi0": folder}[name])
    there, here = (Study(c, (NONE,), 1, Protocol.published("openpi")) for c in ("somebody/pi0", folder))
    assert there == here and there.recording(NONE).path == here.recording(NONE).path


def test_the_commit_on_the_hub_is_recorded_and_changes_no_key(publish, monkeypatch, tmp_path, make_row):
    folder, snapshot = publish(), tmp_path / "models--somebody--pi0" / "snapshots" / "0f1e2d"
    here = Study(folder, (NONE,), 1, Protocol.published("openpi"), folder=tmp_path / "runs")
    shutil.copytree(folder, snapshot)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, revision, **_: {"main": snapshot}[revision])
    recording = replace(here, checkpoint="somebody/pi0@main").recording(NONE)
    assert recording.path == here.recording(NONE).path
    recording.add(make_row())
    tidy(recording.folder)
    assert parquet.read_schema(recording.path).metadata[b"hub"] == b"somebody/pi0@0f1e2d"
    assert len(here.recording(NONE).read()) == 1


# What a checkpoint leaves out, or says of its evaluation


def test_what_a_checkpoint_leaves_out_is_given_to_its_study_and_is_part_of_its_key(publish):
    folder = publish(pi05=True, discrete_state_input="left out")
    with pytest.raises(ValueError, match="lacks discrete_state_input, "):
        Study(folder, (NONE,), 1, Protocol.published("openpi"))
    studies = [
        Study(folder, (NONE,), 1, Protocol.published("openpi", entries={"discrete_state_input": said}))
        for said in (True, False)
    ]
    assert [study.policy.prompt_has_state for study in studies] == [True, False]
    assert studies[0].recording(NONE).path != studies[1].recording(NONE).path


def test_entries_that_are_not_given_are_in_no_key():
    assert "entries" not in Protocol.published("openpi", entries={}).key(NONE)
    assert Protocol(entries={"b": 1, "a": [None]}).key(NONE)["entries"] == '{"a": [null], "b": 1}'


def test_a_policy_in_a_worker_has_the_entries_too(publish):
    folder = publish(pi05=True, discrete_state_input="left out")
    protocol = Protocol.published("openpi", entries={"discrete_state_input": False}, numerics="native")
    assert not trial._policy(folder, protocol, "").prompt_has_state


def test_a_tokenizer_elsewhere_is_told_by_what_is_in_it(publish, tmp_path):
    """And given statistics are part of the key as they are; so neither need lie there for the rows to be found."""
    folder, elsewhere = publish(), tmp_path / "words"
    elsewhere.mkdir()
    within = Study(folder, (NONE,), 1, Protocol.published("openpi"))
    (folder / "tokenizer.json").rename(elsewhere / "tokenizer.json")
    with pytest.raises(FileNotFoundError, match="tokenizer.json is not there: .* or name it: --tokenizer FILE"):
        Study(folder, (NONE,), 1, Protocol.published("openpi"))
    studies = []
    for name in ("tokenizer.json", "the_same.json", "another.json"):
        if name != "tokenizer.json":
            text = (elsewhere / "tokenizer.json").read_text()
            (elsewhere / name).write_text(text + "\n" * (name == "another.json"))
        protocol = Protocol.published("openpi", tokenizer=elsewhere / name, numerics="native")
        studies.append(Study(folder, (NONE,), 1, protocol))
    paths = [study.recording(NONE).path for study in (within, *studies)]
    assert paths[1] == paths[2] and len({*paths}) == 3
    policy = trial._policy(folder, studies[0].protocol, "")
    assert policy.tokens("pick up").tolist() == within.policy.tokens("pick up").tolist()


def test_as_many_actions_are_executed_as_the_checkpoint_says(publish, monkeypatch):
    """openpi's evaluation executes 5; LeRobot's as many as `n_action_steps`, which conventions hold."""
    folder = publish()
    assert Study(folder, (NONE,), 1, Protocol.published("openpi")).protocol.replan_every == 5
    load = study_module.load_policy

    def of_lerobot(*arguments, **named):
        policy = load(*arguments, **named)
        return replace(policy, conventions=replace(policy.conventions, execute=7))

    monkeypatch.setattr(study_module, "load_policy", of_lerobot)
    study = Study(folder, (NONE,), 1, Protocol.published("lerobot"))
    assert study.protocol.replan_every == study.recording(NONE).key["replan_every"] == 7
    assert Study(folder, (NONE,), 1, Protocol.published("lerobot", replan_every=3)).protocol.replan_every == 3


def test_a_prompt_that_is_too_long_is_said_before_the_first_episode(publish):
    with pytest.raises(ValueError, match="'pick up the black bowl .* tokens; this model takes at most 40$"):
        Study(publish(max_token_len=40), (NONE,), 1, Protocol.published("openpi"))
    folder = publish(pi05=True, max_token_len=110)  # the words fit into it, and the numbers of the state do not
    with pytest.raises(ValueError, match="'Task: pick up .*, State: 128 128 .* tokens; this model takes at most 110$"):
        Study(folder, (NONE,), 1, Protocol.published("openpi"))
    Study(publish(pi05=True, max_token_len=110, discrete_state_input=False), (NONE,), 1, Protocol.published("openpi"))


def test_only_prompts_of_the_studys_tasks_count(publish):
    lengths = [len(one.language) for one in tasks("libero_spatial")]
    longest = lengths.index(max(lengths))
    assert longest > 0
    folder = publish(max_token_len=max(lengths) + 1)  # each letter a token, <bos>, a new line: one less than it needs
    Study(folder, (NONE,), longest, Protocol.published("openpi"))
    with pytest.raises(ValueError, match="this model takes at most"):
        Study(folder, (NONE,), longest + 1, Protocol.published("openpi"))


# Real episodes


@pytest.mark.parametrize("pi05", [False, True])
def test_an_episode_sees_published_frames_until_the_published_limit(publish, tmp_path, gl, monkeypatch, pi05):
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 20)
    monkeypatch.setitem(PUBLISHED_STEP_LIMITS["lerobot"], "libero_spatial", 8)
    monkeypatch.setattr(
        study_module, "by_task", lambda work, jobs, *_: (work(*one) for _, many in jobs for one in many)
    )
    seen, act = [], CachedPolicy.act
    monkeypatch.setattr(CachedPolicy, "act", lambda self, *o: seen.append(o) or act(self, *o))
    settings = (NONE, parse_setting("vision_only:skip when always"), parse_setting("none seeing shuffled"))
    protocol = Protocol.published("lerobot", gl=gl, numerics="native")  # those of this process
    study = Study(publish(pi05), settings, 1, protocol, folder=tmp_path / "runs")
    records = study.run()
    assert records.episodes["error"].isna().all() and records.episodes["steps"].eq(8).all()
    assert records.episodes["reused"].tolist() == [0, 1, 0]
    env = trial._env(study.protocol, 0)
    env.reset(0, 0)
    expected = observe_published(env)
    images, state, _ = seen[0]
    np.testing.assert_array_equal(state, expected.state)
    for name in ("agentview", "wrist"):
        np.testing.assert_array_equal(images[name], expected.images[name])
        assert not np.array_equal(images[name], env.observe().images[name])
    assert all(image.shape == (256, 256, 3) for images, *_ in seen for image in images.values())
