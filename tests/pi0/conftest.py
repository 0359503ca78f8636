"""A model small enough to build in every test, with every parameter random: norms and biases too."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing

from kvlab.pi0 import GemmaConfig, Pi0, Pi0Config, Policy, SiglipConfig, published
from kvlab.pi0.data import word_tokenizer
from small import small_config


@pytest.fixture(scope="session")
def tiny() -> Pi0Config:
    """Two key-value heads for four query heads, streams of different width, two cameras of four tokens."""
    stream = GemmaConfig(width=32, mlp_dim=48, depth=3, num_heads=4, num_kv_heads=2, head_dim=8)
    return small_config(
        vision=SiglipConfig(width=16, depth=1, mlp_dim=24, num_heads=2, patch_size=4, stem=(8,)),
        prefix=stream,
        expert=replace(stream, width=24, mlp_dim=40),
        max_tokens=6,
        image_size=16,
        state_dim=5,
        action_dim=3,
        chunk=4,
        denoising_steps=3,
    )


@pytest.fixture
def model(tiny) -> Pi0:
    """In float64, so that two ways to the same number may differ by 1e-10 but not by 1e-6."""
    torch.manual_seed(0)
    model = Pi0(tiny)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norm scales and biases, which start at zero or one
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.double().requires_grad_(False)


@pytest.fixture
def policy(tiny, model) -> Policy:
    rng = np.random.default_rng(0)
    stats = {
        f"{kind}_{what}": rng.uniform(0.5, 2, width).astype(np.float32)
        for kind, width in (("state", tiny.state_dim), ("action", tiny.action_dim))
        for what in ("mean", "std")
    }
    tokenizer = word_tokenizer(("pick up the bowl", "place it on the plate"))
    return Policy(model, stats, tokenizer, {"suites": ["toy"], "steps": 3})


@pytest.fixture(scope="session")
def reference_of():
    """`Reference`, from a file beside this one; it imports transformers, which takes seconds, only when asked for."""
    path = Path(__file__).with_name("published_reference.py")
    spec = importlib.util.spec_from_file_location("published_reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Reference


@pytest.fixture
def published_size(tiny, monkeypatch) -> Pi0Config:
    """What `load` takes for the full size: two layers a stack, no convolutional stem, 8 actions of 6 numbers."""
    small = replace(
        tiny,
        vision=replace(tiny.vision, stem=(), depth=2),
        prefix=replace(tiny.prefix, depth=2),
        expert=replace(tiny.expert, depth=2),
        vocab_size=259,
        state_dim=6,
        action_dim=6,
        chunk=8,
    )
    monkeypatch.setattr(published, "FULL_SIZE", small)
    monkeypatch.setattr(published, "STREAMS", {"gemma_2b": small.prefix, "gemma_300m": small.expert})
    monkeypatch.setattr(published, "PROMPT_TOKENS", {False: 48, True: 120})
    return small


@pytest.fixture
def statistics() -> dict[str, dict[str, np.ndarray]]:
    """For a state of 5 numbers and an action of 3, all different, so that no two can be taken for each other."""
    rng = np.random.default_rng(5)
    stats = {}
    for name, width in (("state", 5), ("action", 3)):
        low = rng.uniform(-2, -1, width)
        high = low + rng.uniform(2, 3, width)
        spread = {"mean": rng.uniform(-1, 1, width), "std": rng.uniform(0.5, 2, width), "q01": low, "q99": high}
        stats[name] = {k: v.astype(np.float32) for k, v in spread.items()}
    return stats


@pytest.fixture
def byte_tokenizer() -> Tokenizer:
    """One token a byte, with PaliGemma's special tokens; it adds <bos> by itself, as PaliGemma's does."""
    symbols = ["<pad>", "<eos>", "<bos>", *sorted(ByteLevel.alphabet())]
    tokenizer = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(symbols[:3])
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    tokenizer.enable_padding(length=64)
    return tokenizer


@pytest.fixture
def publish(published_size, reference_of, statistics, byte_tokenizer, tmp_path):
    """Writes a checkpoint as LeRobot or openpi does: `publish("lerobot", "pi05")` gives its folder and its model.

    `width` is what states and actions are padded to, `config` are other entries of `config.json`.
    """

    def write(form: str, kind: str, width: int = 6, **config):
        size = replace(published_size, pi05=kind == "pi05", state_dim=width, action_dim=width)
        reference, folder = reference_of(size), tmp_path / f"{form}_{kind}"
        folder.mkdir()
        byte_tokenizer.save(str(folder / "tokenizer.json"))
        save_file(reference.published("model." if form == "lerobot" else ""), folder / "model.safetensors")
        if form == "openpi":  # what openpi's converter leaves out
            config = ({"discrete_state_input": True} if size.pi05 else {"extra_delta_transform": False}) | config
        files = lerobot_files(kind, size, config) if form == "lerobot" else openpi_files(size, statistics, config)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(content))
        if form == "lerobot":
            names = {"state": "observation.state", "action": "action"}
            flat = {f"{names[k]}.{n}": torch.from_numpy(v) for k, s in statistics.items() for n, v in s.items()}
            for part in ("pre", "post"):
                save_file(flat, folder / f"{part}.safetensors")
        return folder, reference

    return write


def openpi_files(size: Pi0Config, statistics: dict, config: dict) -> dict[str, dict]:
    sizes = {"action_dim": size.action_dim, "action_horizon": size.chunk, "precision": "float32"}
    streams = {"paligemma_variant": "gemma_2b", "action_expert_variant": "gemma_300m"}
    norms = {f"{k}s" if k == "action" else k: {n: v.tolist() for n, v in s.items()} for k, s in statistics.items()}
    return {"config.json": sizes | streams | config, "assets/lab/libero/norm_stats.json": {"norm_stats": norms}}


def lerobot_files(kind: str, size: Pi0Config, config: dict) -> dict[str, dict]:
    """Settings as LeRobot 0.6.1 writes them, less those of training."""
    mode = "QUANTILES" if kind == "pi05" else "MEAN_STD"
    norm = {"eps": 1e-8, "norm_map": {"VISUAL": "IDENTITY", "STATE": mode, "ACTION": mode}}
    prompt = "pi05_prepare_state_tokenizer_processor_step" if kind == "pi05" else "pi0_new_line_processor"
    relative = {"enabled": False, "exclude_joints": ["gripper"], "action_names": None}
    steps = {"rename_observations_processor": {"rename_map": {}}, "to_batch_processor": {}, prompt: {}}
    steps |= {"tokenizer_processor": {"max_length": 48}, "device_processor": {"device": "cpu"}}
    steps |= {"relative_actions_processor": relative, "normalizer_processor": norm}
    after = {"unnormalizer_processor": norm, "absolute_actions_processor": {"enabled": False}}

    def written(steps: dict[str, dict], part: str) -> dict:
        rows = [{"registry_name": name, "config": settings} for name, settings in steps.items()]
        for row in rows:
            if row["registry_name"].endswith("normalizer_processor"):
                row["state_file"] = f"{part}.safetensors"
        return {"name": f"policy_{part}processor", "steps": rows}

    images = ("image", "image2", "empty_camera_0")
    features = {f"observation.images.{name}": {"type": "VISUAL", "shape": [3, 16, 16]} for name in images}
    settings = {
        "type": kind,
        "use_relative_actions": False,
        "n_action_steps": 4,
        "input_features": features | {"observation.state": {"type": "STATE", "shape": [5]}},
        "output_features": {"action": {"type": "ACTION", "shape": [3]}},
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "chunk_size": size.chunk,
        "max_state_dim": size.state_dim,
        "max_action_dim": size.action_dim,
        "num_inference_steps": size.denoising_steps,
        "image_resolution": [size.image_size, size.image_size],
        "tokenizer_max_length": 120,
    }
    processors = {f"policy_{part}processor.json": written(s, part) for part, s in (("pre", steps), ("post", after))}
    return {"config.json": settings | config} | processors
