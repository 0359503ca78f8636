"""Published files of random weights against the same weights in transformers' own blocks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from kvlab.pi0 import PRESETS, Pi0, load
from kvlab.pi0.names import NAMES, spare, wanted

TIGHT = {"rtol": 1e-5, "atol": 1e-5}
INSTRUCTION = "pick up the bowl"


def frames(seed: int = 0) -> dict[str, np.ndarray]:
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 16, 16, 3), np.uint8)
    return dict(zip(("agentview", "wrist"), pixels, strict=True))


def embeds(policy, tokens) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    seen = dict(zip(policy.config.cameras, policy.model.embed_images(policy.images(frames()))[:, None], strict=True))
    seen["language"] = policy.model.embed_language(tokens)
    return {name: (x, None) for name, x in seen.items()}


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@pytest.mark.parametrize("form", ["lerobot", "openpi"])
def test_actions_are_those_of_transformers_blocks(publish, form, kind):
    folder, reference = publish(form, kind, **({"max_token_len": 120} if form == "openpi" else {}))
    policy = load(folder)
    state = np.array([0.3, -0.2, 0.1, -1.3, 0.9], np.float32)
    tokens = policy.tokens(INSTRUCTION, state)
    noise = torch.randn(1, 8, 6, generator=torch.Generator().manual_seed(1))
    cache = policy.model.encode_state(policy.state(state), policy.model.prefill(embeds(policy, tokens)))
    assert ("state" in cache.names) == (kind == "pi0")
    actions = policy.model.denoise(cache, noise)
    with torch.inference_mode():
        expected = reference.sample_actions(policy.images(frames()), tokens, policy.state(state), noise)
    assert (expected - noise).norm() > 0.1 * noise.norm()  # the weights do something
    assert (actions - expected).norm() / expected.norm() < 1e-5


def test_in_bfloat16_the_actions_are_near(publish):
    folder, reference = publish("lerobot", "pi05")
    policy = load(folder, dtype=torch.bfloat16)
    state = np.zeros(5, np.float32)
    tokens = policy.tokens(INSTRUCTION, state)
    noise = torch.randn(1, 8, 6, generator=torch.Generator().manual_seed(1))
    actions = policy.model.denoise(policy.model.prefill(embeds(policy, tokens)), noise.bfloat16()).float()
    with torch.inference_mode():
        expected = reference.sample_actions(policy.images(frames()).float(), tokens, policy.state(state).float(), noise)
    assert 1e-4 < (actions - expected).norm() / expected.norm() < 2e-2


def test_image_tokens_are_those_of_siglip(publish):
    folder, reference = publish("lerobot", "pi0")
    policy = load(folder)
    images = policy.images(frames())
    with torch.inference_mode():
        expected = reference.projector(reference.vision(pixel_values=images).last_hidden_state)
    torch.testing.assert_close(policy.model.embed_images(images), expected, **TIGHT)


def test_prefix_keys_and_values_are_those_of_gemma(publish):
    """`GemmaModel.forward` as a whole, under a mask that hides nothing."""
    folder, reference = publish("openpi", "pi0")
    policy, past = load(folder), DynamicCache()
    tokens = policy.tokens(INSTRUCTION)
    ours = policy.model.prefill(embeds(policy, tokens)).stacked()
    prefix = reference.embed_prefix(policy.images(frames()), tokens)
    many = prefix.shape[1]
    with torch.inference_mode():
        reference.language(inputs_embeds=prefix, attention_mask=torch.zeros(1, 1, many, many), past_key_values=past)
    for i, layer in enumerate(past.layers):
        torch.testing.assert_close(ours[0][i], layer.keys, **TIGHT)
        torch.testing.assert_close(ours[1][i], layer.values, **TIGHT)
    assert len(past.layers) == 2


@pytest.mark.parametrize("kind", ["pi0", "pi05"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_at_full_size_every_tensor_of_lerobots_list_has_its_place(kind, prefix):
    """`published_names.json` lists names and shapes of LeRobot 0.6.1's policies, `*` for the number of a layer."""
    listed = json.loads(Path(__file__).with_name("published_names.json").read_text())[kind]
    depths = {"vision_tower": 27, "language_model": 18, "gemma_expert": 18}
    stored = {}
    for name, shape in listed.items():
        depth = next((d for part, d in depths.items() if part in name), 0)
        numbers = range(depth) if ".*." in name else [0]
        stored |= {prefix + name.replace("*", str(i)): tuple(shape) for i in numbers}
    config = replace(PRESETS["base"], pi05=kind == "pi05")
    with torch.device("meta"):
        ours = {name: tuple(x.shape) for name, x in Pi0(config).state_dict().items()}
    parts = [part for pieces in wanted(config, ours, stored).values() for part in pieces.items()]
    assert len(parts) == len(dict(parts)) and dict(parts).items() <= stored.items()
    assert {k: v for k, v in stored.items() if k not in dict(parts)}.items() <= spare(config).items()


def test_the_naming_table_names_each_tensor_once():
    theirs = [name for names in NAMES.values() for name in names]
    assert len(set(theirs)) == len(theirs)
