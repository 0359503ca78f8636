"""Parity with LeRobot: one checkpoint of random weights, loaded here and there, must predict the same actions.

    python -m kvlab.lab.parity [--sizes small base] [--device cuda] [--out data/parity/lerobot.json]

needs LeRobot 0.6 with its `transformers-dep` extra, which this project does not install (it needs Python 3.12); run it
in an environment that has both. Each checkpoint is written by LeRobot itself, processors included, so that names,
normalisation, prompt and frames are compared too. PaliGemma's tokenizer is not free to download; a tokenizer of single
bytes takes its place on both sides.
"""

import argparse
import gc
import itertools
import json
import platform
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from tqdm import tqdm

from kvlab.lab.paths import DATA
from kvlab.pi0 import PRESETS, GemmaConfig, SiglipConfig, load, published

ALLOWED = {"float32": 1e-5, "bfloat16": 2e-2}  # relative error of an action chunk
WIDTHS = {"observation.state": 8, "action": 7}  # LIBERO's
CAMERAS = {"image": "agentview", "image2": "wrist"}  # LeRobot's names: ours
INSTRUCTION = "pick up the black bowl"
_STREAM = {"depth": 4, "num_heads": 8, "num_kv_heads": 1, "head_dim": 32}
SMALL = replace(  # the published shape at a five-hundredth of the size
    PRESETS["base"],
    vision=SiglipConfig(width=144, depth=4, mlp_dim=320, num_heads=4, patch_size=14),
    prefix=GemmaConfig(width=256, mlp_dim=768, **_STREAM),
    expert=GemmaConfig(width=128, mlp_dim=384, **_STREAM),
    vocab_size=512,
)


def compare(kind: str, dtype: str, size: str, device: str, seed: int = 0) -> dict[str, object]:
    """One row: `kind` is pi0 or pi05, `size` is base (as published, 14 GB in float32) or small.

    Raises ImportError where LeRobot is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        if size == "small":
            _shrink(kind, patches)
        observation = _observation(seed)
        theirs = _run_lerobot(kind, dtype, device, Path(folder), observation, patches)
        gc.collect()
        ours = _run_kvlab(dtype, device, Path(folder), observation)
    errors = {name: _relative(ours[name], theirs[name]) for name in ("chunk", "actions")}
    return {
        "policy": kind,
        "dtype": dtype,
        "size": size,
        "relative_error_of_chunk": errors["chunk"],
        "relative_error_of_actions": errors["actions"],
        "allowed": ALLOWED[dtype],
        "passed": max(errors.values()) < ALLOWED[dtype],
    }


def _shrink(kind: str, patches: ExitStack) -> None:
    """`SMALL` in both: LeRobot's sizes are fixed in its code."""
    module = import_module(f"lerobot.policies.{kind}.modeling_{kind}")

    def shrunk(model_class: type):
        def build(config):
            getattr(config, "text_config", config).vocab_size = SMALL.vocab_size
            if vision := getattr(config, "vision_config", None):
                vision.hidden_size, vision.intermediate_size = SMALL.vision.width, SMALL.vision.mlp_dim
                vision.num_hidden_layers, vision.num_attention_heads = SMALL.vision.depth, SMALL.vision.num_heads
                vision.projection_dim = SMALL.prefix.width
            return model_class(config)

        return build

    streams = {"gemma_2b": SMALL.prefix, "gemma_300m": SMALL.expert}
    patches.enter_context(patch.object(module, "get_gemma_config", streams.__getitem__))
    for name in ("PaliGemmaForConditionalGenerationWithPiGemma", "PiGemmaForCausalLM"):
        patches.enter_context(patch.object(module, name, shrunk(getattr(module, name))))
    patches.enter_context(patch.object(published, "FULL_SIZE", SMALL))
    patches.enter_context(patch.object(published, "STREAMS", streams))


def _observation(seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (len(CAMERAS), 16, 16, 3), np.uint8)
    frames = coarse.repeat(16, 1).repeat(16, 2)  # 256 x 256, with edges that resizing has to treat alike
    return {
        "frames": dict(zip(CAMERAS, frames, strict=True)),
        "state": rng.uniform(-0.9, 0.9, WIDTHS["observation.state"]).astype(np.float32),
        "noise": rng.standard_normal((1, 50, 32), dtype=np.float32),
    }


def _run_lerobot(
    kind: str, dtype: str, device: str, folder: Path, observation: dict, patches: ExitStack
) -> dict[str, np.ndarray]:
    """LeRobot's chunk and actions; the checkpoint and its processors are left in `folder`."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    stand_in = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>")
    patches.enter_context(patch.object(AutoTokenizer, "from_pretrained", lambda *_, **__: stand_in))
    config = make_policy_config(kind, dtype=dtype, device=device, tokenizer_max_length=200)
    visual = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    config.input_features = {f"observation.images.{name}": visual for name in CAMERAS}
    config.input_features["observation.state"] = PolicyFeature(FeatureType.STATE, (WIDTHS["observation.state"],))
    config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (WIDTHS["action"],))}
    policy = _random(get_policy_class(kind), config)
    before, after = make_pre_post_processors(config, dataset_stats=_statistics())
    for part in (policy, before, after):
        part.save_pretrained(folder)
    batch = {
        f"observation.images.{k}": torch.from_numpy(v).permute(2, 0, 1) / 255 for k, v in observation["frames"].items()
    }
    batch |= {"observation.state": torch.from_numpy(observation["state"]), "task": INSTRUCTION}
    noise = torch.from_numpy(observation["noise"]).to(device)
    chunk = policy.predict_action_chunk(before(batch), noise=noise).float()
    return {"chunk": chunk[0].cpu().numpy(), "actions": after(chunk)[0].numpy()}


def _random(policy_class: type, config):
    """A policy whose every parameter is random: norms too, since a wrong norm would not be seen under zeros."""
    starts = [name for name in vars(torch.nn.init) if name.endswith("_") and not name.startswith("_")]
    with ExitStack() as patches:  # billions of numbers would be drawn several times over
        for name in starts:
            patches.enter_context(patch.object(torch.nn.init, name, lambda tensor, *_, **__: tensor))
        policy = policy_class(config).eval().requires_grad_(False)
    torch.manual_seed(0)
    for name, parameter in policy.named_parameters():
        parameter.normal_(std=0.1 if "norm" in name or parameter.ndim < 2 else parameter[0].numel() ** -0.5)
    return policy


def _statistics() -> dict[str, dict[str, np.ndarray]]:
    rng, stats = np.random.default_rng(7), {}
    for name, width in WIDTHS.items():
        low, high = -rng.uniform(0.8, 1.2, width), rng.uniform(0.8, 1.2, width)
        spread = {"mean": (low + high) / 2, "std": (high - low) / 4, "q01": low, "q99": high}
        stats[name] = {k: v.astype(np.float32) for k, v in spread.items()}
    return stats


def _tokenizer() -> Tokenizer:
    symbols = ["<pad>", "<eos>", "<bos>", *sorted(ByteLevel.alphabet())]
    tokenizer = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(symbols[:3])
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return tokenizer


@torch.inference_mode()
def _run_kvlab(dtype: str, device: str, folder: Path, observation: dict) -> dict[str, np.ndarray]:
    policy = load(folder, device, getattr(torch, dtype))
    model, state = policy.model, observation["state"]
    images = policy.images({CAMERAS[name]: frame for name, frame in observation["frames"].items()})
    tokens = policy.tokens(INSTRUCTION, state)
    embeds = dict(zip(policy.config.cameras, model.embed_images(images)[:, None], strict=True))
    embeds["language"] = model.embed_language(tokens)
    fresh = {n: (x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)) for n, x in embeds.items()}
    cache = model.encode_state(policy.state(state), model.prefill(fresh))
    chunk = model.denoise(cache, torch.from_numpy(observation["noise"]).to(device, images.dtype))
    return {"chunk": chunk[0, :, : policy.action_dim].float().cpu().numpy(), "actions": policy.actions(chunk, state)}


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=("small", "base"), default=["small", "base"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtypes", nargs="+", choices=ALLOWED, default=list(ALLOWED))
    parser.add_argument("--out", type=Path, default=DATA / "parity" / "lerobot.json")
    args = parser.parse_args()
    cases = itertools.product(("pi0", "pi05"), args.dtypes, args.sizes)
    rows = [compare(*case, args.device) for case in tqdm(cases, desc="comparing", unit="case")]
    machine = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    versions = {name: metadata.version(name) for name in ("lerobot", "transformers", "torch")}
    report = {"rows": rows, "machine": machine, **versions, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    if not all(row["passed"] for row in rows):
        raise SystemExit("some action chunks differ by more than is allowed")


if __name__ == "__main__":
    main()
