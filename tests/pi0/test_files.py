"""Where a checkpoint is, what a folder is that is none, and files that nobody should trust."""

import json
import pickle
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from kvlab.pi0 import load, save
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.pi0.files import hub_commit, local_folder
from tamper import edit, edit_weights

INDEX = "model.safetensors.index.json"


@pytest.fixture
def own(policy, tmp_path) -> Path:
    save(policy, tmp_path / "own")
    return tmp_path / "own"


def in_shards(folder: Path, many: int = 3) -> Path:
    tensors = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    names = [f"model-{i + 1:05}-of-{many:05}.safetensors" for i in range(many)]
    for i, name in enumerate(names):
        save_file(dict(tensors[i::many]), folder / name)
    weight_map = {name: names[i % many] for i, (name, _) in enumerate(tensors)}
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return folder


# Where it is


@pytest.mark.parametrize(
    ("asked", "name", "revision"),
    [
        ("lerobot/pi0_libero", "lerobot/pi0_libero", None),
        ("lerobot/pi0_libero@v2.0", "lerobot/pi0_libero", "v2.0"),
        ("hf://lerobot/pi0_libero", "lerobot/pi0_libero", None),
        ("hf://lerobot/pi0_libero@refs/pr/3", "lerobot/pi0_libero", "refs/pr/3"),
        (Path("hf://lerobot/pi0_libero@abc123"), "lerobot/pi0_libero", "abc123"),  # a path drops a slash
    ],
)
def test_a_hub_id_and_its_revision(asked, name, revision, monkeypatch, tmp_path):
    told = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, revision=None, **_: told.append((name, revision)) or tmp_path
    )
    assert local_folder(asked) == tmp_path
    assert told == [(name, revision)]


def test_the_commit_of_what_was_fetched(tmp_path):
    """The Hub's cache names folders by it, whatever revision was asked for."""
    snapshot = tmp_path / "hub" / "models--some-one--pi0--x" / "snapshots" / "0f1e2d"
    assert hub_commit(snapshot) == "some-one/pi0--x@0f1e2d"
    assert hub_commit(tmp_path) is None


def test_the_home_folder(own, monkeypatch):
    monkeypatch.setenv("HOME", str(own.parent))
    assert load("~/own").config == load(own).config
    assert checkpoint_digest("~/own") == checkpoint_digest(own)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            "gs://openpi-assets/checkpoints/pi05_libero",
            "gs://.* is an address: download it and give its folder, or write",
        ),
        ("https://huggingface.co/lerobot/pi0_libero", "is an address: .* as owner/name or owner/name@revision$"),
        ("s3:/bucket/x", "is an address"),
        ("checkpoints/of/mine", "there is no folder checkpoints/of/mine$"),
        ("./mine", "there is no folder mine$"),
        ("../mine", "there is no folder ../mine$"),
        ("mine", "there is no folder mine$"),
        ("/mine", "there is no folder /mine$"),
    ],
)
def test_what_is_no_folder(asked, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        load(asked)


def test_a_file_of_a_checkpoint(own):
    with pytest.raises(ValueError, match="model.safetensors is a file: name the folder"):
        load(own / "model.safetensors")


# What it is instead


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            ("model.safetensors", "optimizer.pt", "metadata.pt"),
            "written by openpi's train_pytorch.py, .*: write one with",
        ),
        (("params/_METADATA", "train_state/x", "assets/x"), "is in openpi's JAX format: convert it"),
        (
            ("pretrained_model/config.json", "training_state/x"),
            "a step of LeRobot's training: the checkpoint is .*pretrained",
        ),
        (("1000/model.safetensors", "2000/model.safetensors"), "holds checkpoints, .* should be named: 1000, 2000$"),
        (
            ("005000/pretrained_model/config.json", "last/pretrained_model/config.json"),
            "should be named: 005000, last$",
        ),
        (("adapter_config.json", "adapter_model.safetensors"), "holds a LoRA adapter alone: merge it"),
    ],
)
def test_a_folder_of_something_else(files, told, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=told):
        load(tmp_path)


def test_openpis_training_output_with_what_it_lacks(publish):
    folder, _ = publish("openpi", "pi05")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    (folder / "metadata.pt").touch()
    assert load(folder, entries=config).config.pi05


def test_entries_are_of_published_checkpoints(own):
    with pytest.raises(ValueError, match=r"own is not a published checkpoint, .* \['discrete_state_input'\]$"):
        load(own, entries={"discrete_state_input": False})


# Weights in several files


@pytest.mark.parametrize("form", ["lerobot", "openpi"])
def test_shards_are_read(publish, form):
    folder, _ = publish(form, "pi0")
    whole = load(folder).model.state_dict()
    shards = load(in_shards(folder)).model.state_dict()
    assert whole.keys() == shards.keys() and all(torch.equal(whole[k], shards[k]) for k in whole)


def test_every_shard_is_part_of_the_digest(publish):
    folder = in_shards(publish("lerobot", "pi0")[0])
    digest = checkpoint_digest(folder)
    edit_weights(folder / "model-00002-of-00003.safetensors", lambda t: t.update({k: v + 1 for k, v in t.items()}))
    assert checkpoint_digest(folder) != digest


def test_a_shard_that_is_missing_or_damaged_is_named(publish):
    folder = in_shards(publish("lerobot", "pi0")[0])
    path = folder / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="model-00002-of-00003.safetensors is truncated or not a safetensors file"):
        load(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="lacks model-00002-of-00003.safetensors$"):
        load(folder)


def test_a_tensor_in_two_shards(publish):
    folder = in_shards(publish("lerobot", "pi0")[0])
    first = load_file(folder / "model-00001-of-00003.safetensors")
    name = sorted(first)[0]
    edit_weights(folder / "model-00002-of-00003.safetensors", lambda t: t.update({name: first[name]}))
    with pytest.raises(ValueError, match=f"model-00002-of-00003.safetensors holds {name}, which another file"):
        load(folder)


@pytest.mark.parametrize(
    "index", [{}, {"weight_map": {}}, {"weight_map": ["model.safetensors"]}, {"weight_map": {"a": 1}}]
)
def test_an_index_of_another_form(publish, index):
    folder = in_shards(publish("lerobot", "pi0")[0])
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ValueError, match=f"{INDEX}: .*weight_map"):
        load(folder)


# Files that nobody should trust


class Attack:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("lerobot", "model.safetensors"),
        ("lerobot", "pre.safetensors"),
        ("lerobot", "policy_preprocessor.json"),
        ("lerobot", "tokenizer.json"),
        ("openpi", "config.json"),
        ("openpi", "assets/lab/libero/norm_stats.json"),
    ],
)
def test_a_pickle_is_never_executed(publish, tmp_path, form, name):
    folder, _ = publish(form, "pi0")
    for write in (lambda attack, path: path.write_bytes(pickle.dumps(attack)), torch.save):
        write(Attack(tmp_path / "executed"), folder / name)
        with pytest.raises(
            ValueError, match=f"{name} is not (a readable tokenizer|readable JSON)|not a safetensors file"
        ):
            load(folder)
        assert not (tmp_path / "executed").exists()


def test_a_pickle_beside_the_weights_is_not_opened(publish, tmp_path):
    """As openpi's training leaves one, `metadata.pt`."""
    folder, _ = publish("openpi", "pi0")
    torch.save(Attack(tmp_path / "executed"), folder / "metadata.pt")
    load(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["../secret.safetensors", "stats/pre.safetensors", "/secret.safetensors", ""])
def test_a_file_named_in_json_is_one_of_the_folder(publish, tmp_path, name):
    """Else statistics come from where the digest does not look."""
    folder, _ = publish("lerobot", "pi0")
    (folder / "stats").mkdir()
    for there in (tmp_path / "secret.safetensors", folder / "stats" / "pre.safetensors"):
        there.write_bytes((folder / "pre.safetensors").read_bytes())
    name = str(tmp_path / name[1:]) if name.startswith("/") else name
    edit(
        folder / "policy_preprocessor.json",
        lambda d: [s.update(state_file=name) for s in d["steps"] if "state_file" in s],
    )
    with pytest.raises((ValueError, FileNotFoundError), match="is not one of the folder's own|names no file"):
        load(folder)


def test_a_shard_named_in_json_is_one_of_the_folder(publish):
    folder = in_shards(publish("lerobot", "pi0")[0])
    (folder / "model-00001-of-00003.safetensors").rename(folder.parent / "model-00001-of-00003.safetensors")
    text = (folder / INDEX).read_text().replace("model-00001", "../model-00001")
    (folder / INDEX).write_text(text)
    with pytest.raises(ValueError, match="names the file '../model-00001-of-00003.safetensors', which is not one of"):
        load(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pre.safetensors", "config.json"])
def test_a_pointer_of_git_lfs(publish, name):
    folder, _ = publish("lerobot", "pi0")
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(ValueError, match=f"{name} .*is a pointer of Git LFS .*: run git lfs pull"):
        load(folder)


def test_weights_that_are_whole_numbers(publish):
    """As a quantised checkpoint holds them: taken for floats they would be a policy of noise."""
    folder, _ = publish("lerobot", "pi0")
    name = "model.action_in_proj.weight"
    edit_weights(folder / "model.safetensors", lambda t: t.update({name: (100 * t[name]).to(torch.int8)}))
    with pytest.raises(ValueError, match=rf"of another kind of numbers: {name} \(I8\)$"):
        load(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(publish, value):
    folder, _ = publish("lerobot", "pi0")
    edit_weights(folder / "model.safetensors", lambda t: t["model.action_out_proj.bias"].__setitem__(2, value))
    with pytest.raises(ValueError, match="holds NaN or infinity, as a training that diverged .*: action_out.bias$"):
        load(folder)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"type": "pi0", "type": "pi05"}', "\ufeff{}"])
def test_json_that_is_none(own, content):
    (own / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="config.json is not readable JSON: "):
        load(own)


@pytest.mark.parametrize("facts", [[], None, {"suites": "libero_spatial"}, {"suites": ["libero_spatial", 10]}])
def test_facts_of_another_type(own, facts):
    edit(own / "config.json", lambda c: c.update(trained_on=facts))
    with pytest.raises(ValueError, match="trained_on should be an object, suites in it a list of names"):
        load(own)
