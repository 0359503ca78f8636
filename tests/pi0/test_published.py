"""Published folders: what they say is understood, and what does not fit is one sentence."""

import json
import os
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from kvlab.pi0 import load, save, weights
from kvlab.pi0.checkpoint import checkpoint_digest
from tamper import edit, edit_weights

EMBEDDING = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
LM_HEAD = "paligemma_with_expert.paligemma.lm_head.weight"
STATE = np.array([0.3, -0.2, 0.1, -1.3, 0.9], np.float32)


def step(data: dict, name: str) -> dict:
    return next(s for s in data["steps"] if s["registry_name"] == name)["config"]


def text(policy, tokens: torch.Tensor) -> str:
    return policy.tokenizer.decode(tokens[0].tolist(), skip_special_tokens=False)


def test_sizes_come_from_the_config(publish):
    policy = load(publish("lerobot", "pi0")[0])
    c = policy.config
    assert c.cameras == ("agentview", "wrist")  # LeRobot's image and image2; its empty camera is masked
    assert (c.chunk, c.denoising_steps, c.max_tokens, c.pi05) == (8, 3, 120, False)
    assert (c.state_dim, c.action_dim) == (6, 6) and (policy.state_dim, policy.action_dim) == (5, 3)
    assert policy.trained_on == {"format": "lerobot"}
    assert not policy.model.training and not any(p.requires_grad for p in policy.model.parameters())
    assert load(publish("openpi", "pi05")[0]).config.max_tokens == 120  # openpi's default for Pi0.5


@pytest.mark.parametrize(("form", "eps"), [("openpi", 1e-6), ("lerobot", 1e-8)])
def test_mean_and_deviation(publish, statistics, form, eps):
    policy, s, a = load(publish(form, "pi0")[0]), statistics["state"], statistics["action"]
    expected = np.append((STATE - s["mean"]) / (s["std"] + eps), 0)  # padded with a zero
    np.testing.assert_allclose(policy.state(STATE)[0], expected, rtol=1e-5)
    chunk = torch.randn(1, 8, 6)
    np.testing.assert_allclose(policy.actions(chunk), chunk[0, :, :3] * (a["std"]) + a["mean"], rtol=1e-4, atol=1e-5)
    assert policy.actions(chunk).dtype == np.float32


@pytest.mark.parametrize("form", ["openpi", "lerobot"])
def test_quantiles(publish, statistics, form):
    policy, s, a = load(publish(form, "pi05")[0]), statistics["state"], statistics["action"]
    expected = np.append(2 * (STATE - s["q01"]) / (s["q99"] - s["q01"]) - 1, 0)
    np.testing.assert_allclose(policy.state(STATE)[0], expected, atol=3e-6)
    chunk = torch.randn(1, 8, 6)
    expected = (chunk[0, :, :3].numpy() + 1) / 2 * (a["q99"] - a["q01"]) + a["q01"]
    np.testing.assert_allclose(policy.actions(chunk), expected, atol=1e-5)


def test_pi0_prompt_is_the_instruction_and_a_new_line(publish):
    for form in ("openpi", "lerobot"):
        policy = load(publish(form, "pi0")[0])
        tokens = policy.tokens("pick up the bowl")
        assert tokens[0, 0] == 2 and (tokens[0, 1:] != 2).all()  # <bos> once, though the tokenizer adds its own
        assert text(policy, tokens[:, 1:]) == "pick up the bowl\n" and not policy.prompt_has_state
        assert (tokens[0, 1:] != 0).all()  # and no padding, though the tokenizer would


@pytest.mark.parametrize("form", ["openpi", "lerobot"])
def test_pi05_prompt_holds_the_state_in_bins(publish, statistics, form):
    policy = load(publish(form, "pi05")[0])
    low, high = statistics["state"]["q01"], statistics["state"]["q99"]
    state = low + (high - low) * np.array([0.001, 0.5001, 0.9999, 1.2, -0.2], np.float32)
    words = text(policy, policy.tokens(" pick_up the\nbowl ", state)[:, 1:])
    assert words == "Task: pick up the bowl, State: 0 128 255 255 -1;\nAction: "
    assert policy.prompt_has_state
    with pytest.raises(ValueError, match="this model's prompt holds the state: give tokens"):
        policy.tokens("pick up the bowl")


def test_openpi_says_whether_the_state_is_in_the_prompt(publish):
    policy = load(publish("openpi", "pi05", discrete_state_input=False)[0])
    assert text(policy, policy.tokens("pick_up the bowl")[:, 1:]) == "pick up the bowl\n"


def test_relative_actions(publish):
    """openpi's `extra_delta_transform`: six numbers of the state are added; LeRobot's: all but those it excludes."""
    chunk = torch.zeros(1, 8, 6)
    absolute = load(publish("lerobot", "pi0")[0]).actions(chunk)
    folder, _ = publish("lerobot", "pi05")
    settings = {"enabled": True, "action_names": ["x", "Gripper.pos", "y"]}
    edit(
        folder / "policy_preprocessor.json",
        lambda d: [
            step(d, "relative_actions_processor").update(settings),
            step(d, "normalizer_processor")["norm_map"].update(STATE="MEAN_STD"),
        ],
    )
    edit(
        folder / "policy_postprocessor.json",
        lambda d: [
            step(d, "absolute_actions_processor").update(enabled=True),
            step(d, "unnormalizer_processor")["norm_map"].update(ACTION="MEAN_STD"),
        ],
    )
    policy = load(folder)
    np.testing.assert_allclose(policy.actions(chunk, STATE), absolute + STATE[:3] * [1, 0, 1], atol=1e-6)
    with pytest.raises(ValueError, match="predicts actions relative to the state: give actions"):
        policy.actions(chunk)
    policy = load(publish("openpi", "pi0", extra_delta_transform=True)[0])
    assert policy.conventions.relative == (True,) * 6 + (False,)


def test_the_embedding_may_be_stored_under_either_name_or_both(publish):
    folder, reference = publish("openpi", "pi0")
    path, embedding = folder / "model.safetensors", reference.language.embed_tokens.weight
    assert LM_HEAD in load_file(path)
    assert torch.equal(load(folder).model.embedding.weight, embedding)
    edit_weights(path, lambda t: t.update({EMBEDDING: embedding.clone()}))
    assert torch.equal(load(folder).model.embedding.weight, embedding)
    edit_weights(path, lambda t: t.pop(LM_HEAD))
    assert torch.equal(load(folder).model.embedding.weight, embedding)


def test_every_tensor_is_accounted_for(publish):
    folder, _ = publish("lerobot", "pi0")

    def change(tensors):
        del tensors["model.state_proj.bias"], tensors[f"model.{LM_HEAD}"]
        tensors["model.lora.weight"] = torch.zeros(2)
        name = "model.paligemma_with_expert.gemma_expert.model.layers.1.self_attn.k_proj.weight"
        tensors[name] = tensors[name][:-1].clone()

    edit_weights(folder / "model.safetensors", change)
    told = (
        rf"missing: model\.{EMBEDDING}, model\.state_proj\.bias; unexpected: model\.lora\.weight; "
        r"of another shape: model\..*layers\.1\.self_attn\.k_proj\.weight \(15, 24\) instead of \(16, 24\)$"
    )
    with pytest.raises(ValueError, match=told):
        load(folder)


@pytest.mark.parametrize("kind", ["smolvla", "act", "pi0_fast"])
def test_another_lerobot_policy(publish, kind):
    folder, _ = publish("lerobot", "pi0", type=kind)
    with pytest.raises(ValueError, match=f"is that of the policy '{kind}'; only Pi0 and Pi0.5"):
        load(folder)


def test_openvla(tmp_path):
    """A folder of transformers: shards, and no `type`."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "openvla", "architectures": ["OpenVLA"]}))
    with pytest.raises(ValueError, match="is that of the policy 'openvla'; only Pi0 and Pi0.5"):
        load(tmp_path)


def test_a_truncated_file(publish):
    path = publish("lerobot", "pi0")[0] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="model.safetensors is truncated or not a safetensors file"):
        load(path.parent)


def test_a_checkpoint_for_jax(tmp_path):
    """As openpi publishes them: `params` is a folder of arrays."""
    for name in ("params", "assets"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        ValueError, match="is in openpi's JAX format: convert it by openpi's examples/convert_jax_model"
    ):
        load(tmp_path)


@pytest.mark.parametrize(("dtype", "takes"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_too_little_memory(publish, monkeypatch, dtype, takes):
    """Said before anything is read, by what the model takes in that dtype."""
    folder, _ = publish("lerobot", "pi0")
    needed = takes * sum(p.numel() for p in load(folder).model.parameters())
    monkeypatch.setattr(weights, "free_memory", lambda device: needed)
    load(folder, dtype=dtype)
    monkeypatch.setattr(weights, "free_memory", lambda device: needed - 1)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(MemoryError, match=rf"takes 0.0 GB as {name}, but cpu has 0.0 GB of memory free: free some, or"):
        load(folder, dtype=dtype)


def test_free_memory_is_the_systems(tmp_path, monkeypatch):
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < weights.free_memory("cpu") < total
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5, 7))
    assert weights.free_memory("cuda:1") == 5


def test_no_gpu(publish, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="the device 'cuda' is asked for, but torch finds no CUDA GPU .*: take 'cpu'$"):
        load(publish("openpi", "pi0")[0], device="cuda")


@pytest.mark.parametrize("form", ["lerobot", "openpi"])
def test_the_digest_is_of_every_file_that_is_read(publish, form):
    folder, _ = publish(form, "pi0")
    digests = [checkpoint_digest(folder)]
    (folder / "README.md").write_text("nothing that is read")
    assert checkpoint_digest(str(folder)) == digests[0]
    read = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "README.md")
    for path in read:
        path.write_bytes(path.read_bytes() + b" ")
        digests.append(checkpoint_digest(folder))
    assert len(set(digests)) - 1 == len(read) == {"lerobot": 7, "openpi": 4}[form]
    (folder / "tokenizer.json").rename(folder / "tokenizers.json")
    assert checkpoint_digest(folder) not in digests


def test_the_digest_of_a_hub_id_is_that_of_what_is_fetched(publish, monkeypatch, tmp_path):
    folder, _ = publish("lerobot", "pi05")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: {"somebody/pi05": folder}[name])
    assert checkpoint_digest("somebody/pi05") == checkpoint_digest(folder)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("lerobot", "model.safetensors"),
        ("lerobot", "policy_postprocessor.json"),
        ("lerobot", "pre.safetensors"),
        ("openpi", "assets/lab/libero/norm_stats.json"),
        ("openpi", "tokenizer.json"),
    ],
)
def test_a_missing_file_is_named(publish, form, name):
    folder, _ = publish(form, "pi0")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=Path(name).name):
        load(folder)


def test_the_tokenizer_may_lie_elsewhere(publish, tmp_path):
    folder, _ = publish("openpi", "pi0")
    (folder / "tokenizer.json").rename(tmp_path / "paligemma.json")
    with pytest.raises(FileNotFoundError, match="published checkpoints leave PaliGemma's tokenizer.json out"):
        load(folder)
    assert load(folder, tokenizer=tmp_path / "paligemma.json").tokens("a").tolist()[0][0] == 2


def test_widths_that_do_not_fit(publish):
    folder, _ = publish("lerobot", "pi0")
    edit(folder / "config.json", lambda d: d["input_features"]["observation.state"].update(shape=[8]))
    with pytest.raises(ValueError, match="says observation.state has 8 numbers, its statistics have 5"):
        load(folder)
    folder, _ = publish("openpi", "pi0", action_dim=2)
    with pytest.raises(ValueError, match="has statistics of 5 state numbers; its model takes at most 2"):
        load(folder)
    policy = load(publish("openpi", "pi05")[0])
    with pytest.raises(ValueError, match=r"takes a state of 5 numbers, got shape \(8,\)"):
        policy.state(np.zeros(8, np.float32))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "pi05"}, "config.json says Pi0.5, but the weights are those of Pi0$"),
        (
            {"paligemma_variant": "gemma_2b_lora"},
            "paligemma_variant should be one of gemma_2b, gemma_300m, got 'gemma_2b_lora'",
        ),
        ({"chunk_size": "8"}, "config.json: chunk_size should be a whole number above 0, got '8'"),
        ({"max_period": 10.0}, "the time's periods 0.004 to 4, got"),
        ({"image_resolution": [16, 32]}, "frames should be square"),
        ({"normalization_mapping": {"VISUAL": "MEAN_STD"}}, "frames should need no normalisation"),
        ({"input_features": {}}, "input_features should name cameras"),
    ],
)
def test_settings_that_cannot_be(publish, change, told):
    folder, _ = publish("lerobot", "pi0", **change)
    with pytest.raises(ValueError, match=told):
        load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["steps"].append({"registry_name": "xvla_domain", "config": {}}), "has steps .*: xvla_domain$"),
        (
            lambda d: step(d, "normalizer_processor")["norm_map"].pop("STATE"),
            "normalisation of state should .* got IDENTITY",
        ),
        (lambda d: d["steps"].clear(), "should have a step normalizer_processor"),
        (lambda d: step(d, "normalizer_processor").clear(), "normalizer_processor: the entry norm_map is missing"),
    ],
)
def test_processors_that_cannot_be(publish, change, told):
    folder, _ = publish("lerobot", "pi0")
    edit(folder / "policy_preprocessor.json", change)
    with pytest.raises(ValueError, match=told):
        load(folder)


def test_statistics_that_lack_quantiles(publish):
    folder, _ = publish("openpi", "pi05")
    edit(folder / "assets/lab/libero/norm_stats.json", lambda d: d["norm_stats"]["actions"].pop("q99"))
    with pytest.raises(ValueError, match="norm_stats.json lacks q99 of action, which QUANTILES normalisation needs"):
        load(folder)


def test_a_published_policy_is_not_saved_in_our_format(publish, tmp_path):
    with pytest.raises(ValueError, match="a published checkpoint stays in its own format"):
        save(load(publish("openpi", "pi0")[0]), tmp_path / "copy")


def test_a_hub_id_without_network(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    told = "nobody/pi0_nowhere is no folder here and could not be had from the Hugging Face Hub .* give its folder$"
    with pytest.raises(FileNotFoundError, match=told):
        load("nobody/pi0_nowhere")


def lost_statistics(folder: Path) -> dict[str, dict]:
    """Takes a folder's statistics away, and gives them in openpi's form."""
    if (openpis := folder / "assets/lab/libero/norm_stats.json").exists():
        found = json.loads(openpis.read_text())["norm_stats"]
        openpis.unlink()
        return found
    flat = load_file(folder / "pre.safetensors")
    for part in ("pre", "post"):
        (folder / f"{part}.safetensors").unlink()
    rows = {"state": "observation.state.", "actions": "action."}
    return {
        ours: {name.removeprefix(theirs): flat[name].tolist() for name in flat if name.startswith(theirs)}
        for ours, theirs in rows.items()
    }


@pytest.mark.parametrize("form", ["openpi", "lerobot"])
@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@pytest.mark.parametrize("of", ["openpi", "dataset"])
def test_statistics_that_the_folder_lacks_are_named(publish, tmp_path, form, kind, of):
    folder, _ = publish(form, kind)
    whole, path = load(folder), tmp_path / "given.json"
    found = lost_statistics(folder)
    with pytest.raises(FileNotFoundError, match="--statistics names"):
        load(folder)
    if of == "openpi":
        path.write_text(json.dumps({"norm_stats": found}))
    else:
        more = {"count": [7], "episode_index": {"mean": [0.5]}}
        path.write_text(json.dumps({"observation.state": found["state"] | more, "action": found["actions"] | more}))
    given = load(folder, statistics=path)
    for name, values in whole.stats.items():
        np.testing.assert_allclose(given.stats[name], values, rtol=1e-12)


def test_given_statistics_may_be_padded_to_the_models_width(publish, tmp_path):
    folder, _ = publish("lerobot", "pi05")
    whole, found = load(folder), lost_statistics(folder)
    padded = {name: {kind: values + [0.0] * 3 for kind, values in one.items()} for name, one in found.items()}
    (tmp_path / "norm_stats.json").write_text(json.dumps({"norm_stats": padded}))
    given = load(folder, statistics=tmp_path / "norm_stats.json")
    assert all(np.allclose(given.stats[name], values) for name, values in whole.stats.items())


@pytest.mark.parametrize("content", ["{}", '{"norm_stats": {"state": {}}}', '{"action": {}}', '{"norm_stats": 3}'])
def test_what_is_no_file_of_statistics(publish, tmp_path, content):
    folder, _ = publish("openpi", "pi0")
    with pytest.raises(FileNotFoundError, match="there is no file of statistics"):
        load(folder, statistics=tmp_path / "nowhere.json")
    (tmp_path / "some.json").write_text(content)
    with pytest.raises(ValueError, match="should be openpi's norm_stats.json or a LeRobot dataset's meta/stats.json"):
        load(folder, statistics=tmp_path / "some.json")
