"""Presets and the rules that a config has to keep."""

import json
from dataclasses import replace

import pytest
import torch

from kvlab.pi0 import PRESETS, Pi0, Pi0Config


def parameters(config: Pi0Config) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Pi0(config).parameters())


def test_mini_is_under_15_million_parameters():
    assert 5e6 < parameters(PRESETS["mini"]) < 15e6


@pytest.mark.parametrize(("name", "share"), [("mini_half", 0.5), ("mini_double", 2)])
def test_half_and_about_twice_the_parameters_in_a_file_of_32_mb(name, share):
    assert parameters(PRESETS[name]) == pytest.approx(share * parameters(PRESETS["mini"]), rel=0.1)
    assert 2 * parameters(PRESETS[name]) < 32e6  # in bfloat16
    same = ("chunk", "cameras", "image_size", "state_dim", "action_dim", "max_tokens")
    assert all(getattr(PRESETS[name], field) == getattr(PRESETS["mini"], field) for field in same)


def test_base_has_the_published_size():
    """PaliGemma's parts by arithmetic, and the 3.24 B that is stated for the whole."""
    assert parameters(PRESETS["base"]) == pytest.approx(3.24e9, abs=0.005e9)
    with torch.device("meta"):
        base = Pi0(PRESETS["base"])
    size = {name: sum(p.numel() for p in part.parameters()) for name, part in base.named_children()}
    assert size["embedding"] == 257152 * 2048
    attention, mlp, norms = 2048 * (8 + 2 + 8) * 256, 3 * 2048 * 16384, 2 * 2048
    assert size["prefix"] == 18 * (attention + mlp + norms)
    assert size["expert"] == 18 * (1024 * (8 + 2 + 8) * 256 + 3 * 1024 * 4096 + 2 * 1024)
    assert base.config.image_tokens == 256  # 224 pixels in patches of 14


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name):
    written = json.loads(json.dumps(PRESETS[name].to_json()))
    assert Pi0Config.from_json(written) == PRESETS[name]


def test_json_with_other_fields_names_them(tiny):
    written = tiny.to_json()
    del written["vision"]["width"]
    written["vision"]["hidden_size"] = 16
    with pytest.raises(ValueError, match=r"config.vision .*missing \['width'\], unknown \['hidden_size'\]"):
        Pi0Config.from_json(written)
    with pytest.raises(ValueError, match="config.prefix should be an object with the fields of GemmaConfig, got int"):
        Pi0Config.from_json({**tiny.to_json(), "prefix": 7})


def test_a_field_with_a_default_may_be_left_out(tiny):
    written = replace(tiny, denoising_steps=10).to_json()
    del written["denoising_steps"]
    assert Pi0Config.from_json(written).denoising_steps == 10


@pytest.mark.parametrize("wrong", ["16", 16.5, 0, -1, None, True])
def test_a_size_that_is_no_positive_whole_number_is_named(tiny, wrong):
    with pytest.raises(ValueError, match="config.chunk should be a whole number above 0"):
        Pi0Config.from_json({**tiny.to_json(), "chunk": wrong})


def test_streams_that_cannot_attend_jointly(tiny):
    with pytest.raises(ValueError, match="depth, head_dim must be equal"):
        replace(tiny, expert=replace(tiny.expert, depth=2, head_dim=16))


def test_an_image_that_is_not_whole_tokens(tiny):
    with pytest.raises(ValueError, match="image_size 20 is not a multiple of the token stride 8"):
        replace(tiny, image_size=20)


@pytest.mark.parametrize(
    ("part", "name", "wrong", "told"),
    [
        (None, "cameras", "agentview", "config.cameras should be a list of str, got 'agentview'"),
        (None, "cameras", ["agentview", 2], "config.cameras should be a list of str, got"),
        (None, "cameras", ["wrist", "wrist"], "cameras should be named, each once"),
        (None, "cameras", [], "cameras should be named, each once"),
        ("vision", "stem", [8, "16"], "config.vision.stem should be a list of int, got"),
        ("vision", "stem", [8, 0], "config.vision.stem should be a list of int, got"),
        ("vision", "stem", 8, "config.vision.stem should be a list of int, got 8"),
        ("vision", "num_heads", 3, "vision.width is not a multiple of vision.num_heads"),
    ],
)
def test_entries_of_the_wrong_type_or_that_do_not_divide(tiny, part, name, wrong, told):
    written = json.loads(json.dumps(tiny.to_json()))
    (written[part] if part else written)[name] = wrong
    with pytest.raises(ValueError, match=told):
        Pi0Config.from_json(written)


def test_queries_that_no_key_is_for(tiny):
    streams = {name: replace(getattr(tiny, name), num_kv_heads=3) for name in ("prefix", "expert")}
    with pytest.raises(ValueError, match="prefix.num_heads is not a multiple of prefix.num_kv_heads"):
        replace(tiny, **streams)


def test_fields_of_pi05(tiny):
    """Left out in checkpoints that were written before there was Pi0.5."""
    written = tiny.to_json()
    del written["pi05"], written["time_dtype"]
    assert Pi0Config.from_json(written) == tiny
    with pytest.raises(ValueError, match="config.pi05 should be true or false, got 1"):
        Pi0Config.from_json({**tiny.to_json(), "pi05": 1})
    with pytest.raises(ValueError, match="time_dtype should be float32 or float64, got 'bfloat16'"):
        replace(tiny, time_dtype="bfloat16")
