"""A checkpoint comes back as it was saved, and a wrong one is an error that says what is wrong with it."""

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kvlab.pi0 import Policy, load, save
from kvlab.pi0.checkpoint import checkpoint_digest
from tamper import edit, edit_weights

FILES = ("config.json", "stats.json", "tokenizer.json", "model.safetensors")


@pytest.fixture
def folder(policy, tmp_path) -> Path:
    save(policy, tmp_path / "checkpoint", dtype=torch.float64)
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("module", ["torch._dynamo", "scipy"])
def test_loading_imports_nothing_slow_that_it_does_not_need(folder, module):
    """Torch's compiler takes longer to import than a policy to load."""
    load_it = f"import sys; from kvlab.pi0 import load; load({str(folder)!r}); sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", load_it]).returncode == 0


def test_round_trip(policy, folder):
    loaded = load(folder, dtype=torch.float64)
    assert loaded.config == policy.config
    assert loaded.trained_on == policy.trained_on
    assert loaded.tokens("pick up the plate").tolist() == policy.tokens("pick up the plate").tolist()
    assert all(np.array_equal(loaded.stats[k], policy.stats[k]) for k in policy.stats)
    weights = loaded.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in policy.model.state_dict().items())
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    assert sorted(f.name for f in folder.iterdir()) == sorted(FILES)  # no temporary files left


def test_weights_are_stored_in_bfloat16_and_loaded_in_float32(policy, tmp_path):
    save(policy, tmp_path)
    assert {t.dtype for t in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    loaded = load(tmp_path).model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for name, saved in policy.model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name].double(), saved, rtol=2**-8, atol=0)


def test_the_digest_names_recorded_rows_and_never_changes_for_the_same_files(policy, folder):
    """SHA-256 of the four files one after another, whatever else lies beside them."""
    (folder / "curve.json").write_text("[]")
    ordered = ("model.safetensors", "config.json", "stats.json", "tokenizer.json")
    expected = hashlib.sha256(b"".join((folder / name).read_bytes() for name in ordered)).hexdigest()[:16]
    assert checkpoint_digest(folder) == expected
    save(replace(policy, trained_on={"steps": 4}), folder, dtype=torch.float64)
    assert checkpoint_digest(folder) != expected
    (folder / "stats.json").unlink()
    with pytest.raises(FileNotFoundError, match="stats.json"):
        checkpoint_digest(folder)


def test_the_digest_follows_a_change_of_the_same_size_and_time_and_reads_nothing_twice(folder, monkeypatch):
    before, path = checkpoint_digest(folder), folder / "model.safetensors"
    was, weights = path.stat(), path.read_bytes()
    path.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    changed = checkpoint_digest(folder)
    assert changed != before and path.stat().st_mtime_ns == was.st_mtime_ns
    monkeypatch.setattr(hashlib, "sha256", lambda *_: pytest.fail("it was read again"))
    assert checkpoint_digest(folder) == changed


def test_saving_again_replaces(policy, folder):
    save(replace(policy, trained_on={"steps": 4}), folder, dtype=torch.float64)
    assert load(folder).trained_on == {"steps": 4}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"is not a kvlab checkpoint: it lacks {name}$"):
        load(folder)


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"it lacks {', '.join(FILES)}$"):
        load(tmp_path)


@pytest.mark.parametrize("left", [0.5, 0.01, 0.0])
def test_truncated_weights(folder, left):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    with pytest.raises(ValueError, match="model.safetensors is truncated or not a safetensors file"):
        load(folder)


def test_a_pickle_is_never_executed(folder, tmp_path):
    class Attack:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    (folder / "model.safetensors").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(ValueError, match="not a safetensors file"):
        load(folder)
    torch.save(Attack(), folder / "model.safetensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load(folder)
    assert not (tmp_path / "executed").exists()


def test_missing_unexpected_and_misshapen_tensors_are_all_named(folder):
    def change(tensors):
        del tensors["state_in.bias"], tensors["prefix.1.qkv.weight"]
        tensors["value_head.weight"] = torch.zeros(1)
        tensors["action_out.bias"] = torch.zeros(32)

    edit_weights(folder / "model.safetensors", change)
    with pytest.raises(ValueError) as told:
        load(folder)
    assert str(told.value).endswith(
        "does not fit its config: missing: prefix.1.qkv.weight, state_in.bias; unexpected: value_head.weight; "
        "of another shape: action_out.bias (32,) instead of (3,)"
    )


def test_foreign_weights(folder):
    """Another project's names: what is missing and what is there instead, shortened."""
    foreign = {f"model.layers.{i}.q_proj.weight": torch.zeros(2, 2) for i in range(20)}
    save_file(foreign, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: action_in.bias, .* more; unexpected: model.layers.0.*and 12 more$"):
        load(folder)


def test_a_config_of_another_size(folder):
    def deeper(config):
        config["model"]["prefix"]["depth"] = config["model"]["expert"]["depth"] = 4

    edit(folder / "config.json", deeper)
    with pytest.raises(ValueError, match="missing: expert.3.down.weight, expert.3.gate_up.weight, "):
        load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["model"].pop("chunk"), r"missing \['chunk'\], unknown \[\]"),
        (lambda c: c["model"].update(horizon=4), r"missing \[\], unknown \['horizon'\]"),
        (lambda c: c["model"].update(chunk="4"), "config.chunk should be a whole number above 0, got '4'"),
        (lambda c: c["model"].update(prefix=None), "config.prefix should be an object"),
        (lambda c: c.update(model=[]), "config should be an object"),
        (lambda c: c.pop("trained_on"), r"config.json is not a kvlab config: it lacks \['trained_on'\]"),
    ],
)
def test_a_foreign_config(folder, change, told):
    edit(folder / "config.json", change)
    with pytest.raises(ValueError, match=told):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "stats.json"])
@pytest.mark.parametrize("content", [b'{"model": {', b"", b"\xff\xfe\x00", b"[1, 2]"])
def test_damaged_json_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} (is not readable JSON|should hold a JSON object, got list)"):
        load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"state_mean": [0.0]},
        {"state_mean": 0.0},
        {"action_std": [1.0, 1.0, 0.0]},
        {"action_std": [1.0, 1.0, -1.0]},
        {"action_mean": [0.0, float("nan"), 0.0]},
        {"action_mean": [0.0, float("inf"), 0.0]},
        {"action_mean": [0.0, 1.0, "much"]},
        {"action_mean": [0.0, 1.0, None]},
        {"action_mean": [[0.0], [1.0, 2.0], 1.0]},
        {"action_mean": {"x": 1}},
        {"action_mean": [0.0, 1.0, True]},
        {"action_mean": [0.0, 1.0, 1e39]},  # not finite as the model's float32
        {"action_mean": [0.0, 1.0, 10**400]},
        {"action_std": [1.0, 1.0, 1e-46]},  # 0 as the model's float32
    ],
)
def test_bad_statistics_are_named(folder, change):
    edit(folder / "stats.json", lambda stats: stats.update(change))
    (name,) = change
    with pytest.raises(ValueError, match=rf"stats.json: {name} should be (\d finite numbers|above 0)"):
        load(folder)


def test_statistics_by_other_names(folder):
    edit(folder / "stats.json", lambda stats: stats.update(q01=stats.pop("state_mean")))
    with pytest.raises(ValueError, match=r"stats.json should hold \['action_mean', .*, got \['action_mean', .*'q01'"):
        load(folder)


def test_a_damaged_tokenizer(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ValueError, match="tokenizer.json is not a readable tokenizer"):
        load(folder)


def test_a_tokenizer_of_another_model(policy, folder):
    """One with more tokens than the model has embeddings."""
    edit(folder / "tokenizer.json", lambda t: t["model"]["vocab"].update({f"word{i}": 10 + i for i in range(10)}))
    with pytest.raises(ValueError, match="tokenizer.json has 20 tokens; the model has embeddings for 16"):
        load(folder)


def test_observations_of_another_kind(policy):
    with pytest.raises(ValueError, match=r"takes a state of 5 numbers, got shape \(8,\)"):
        policy.state(np.zeros(8, np.float32))
    frame = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(KeyError, match=r"has no camera \['wrist'\]; it has \['agentview', 'front'\]"):
        policy.images({"agentview": frame, "front": frame})


def test_a_prompt_that_is_too_long(policy):
    assert policy.tokens("pick up the bowl on it").shape == (1, 6)
    with pytest.raises(ValueError, match="'pick up the bowl on it now' has 7 tokens; this model takes at most 6"):
        policy.tokens("pick up the bowl on it now")
    with pytest.raises(ValueError, match=r"^'(bowl ){39}\.\.\.' has 300 tokens; this model takes at most 6$"):
        policy.tokens("bowl " * 300)


def test_normalisation(policy: Policy):
    """State to deviations from the mean, actions back, both by the recorded statistics."""
    stats = policy.stats
    state = policy.state(stats["state_mean"] + 2 * stats["state_std"])
    torch.testing.assert_close(state, torch.full((1, 5), 2.0, dtype=torch.float64))
    actions = policy.actions(torch.tensor([[[0.0, 0, 0], [1, 1, 1], [-3, -3, -3], [0, 0, 0]]]))
    assert actions.shape == (4, 3) and actions.dtype == np.float32
    np.testing.assert_allclose(actions[1], stats["action_mean"] + stats["action_std"], rtol=1e-6)
    np.testing.assert_allclose(actions[2], stats["action_mean"] - 3 * stats["action_std"], rtol=1e-6)


def test_images_are_stacked_in_the_configs_order(policy):
    bright, dark = np.full((16, 16, 3), 255, np.uint8), np.zeros((16, 16, 3), np.uint8)
    images = policy.images({"wrist": dark, "other": dark, "agentview": bright})
    assert images.dtype == torch.float64  # the model's
    assert images.amin((1, 2, 3)).tolist() == images.amax((1, 2, 3)).tolist() == [1.0, -1.0]
