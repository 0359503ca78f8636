"""Parity with LeRobot: one checkpoint of random weights, loaded here and there, must predict the same actions.

    python -m kvlab.bench.parity [--sizes small base] [--device cuda] [--out data/parity/lerobot.json]

needs LeRobot 0.6 with its `transformers-dep` extra, which this project does not install (it needs Python 3.12); run it
in an environment that has both. Each checkpoint is written by LeRobot itself, processors included, so that names,
normalisation, prompt and frames are compared too. PaliGemma's tokenizer is not free to download; a tokenizer of single
bytes takes its place on both sides.

The two models are never held at once, and at `base` size their weights lie in files under the temporary folder (35 GB
free for float32), so that less memory than a model takes is enough.
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
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from kvlab.paths import DATA
from kvlab.pi0 import PRESETS, GemmaConfig, Policy, SiglipConfig, load, published, weights
from kvlab.study.origin import processor

ALLOWED = {"float32": 1e-5, "bfloat16": 2e-2}  # relative error of an action chunk
WIDTHS = {"observation.state": 8, "action": 7}  # LIBERO's
CAMERAS = {"image": "agentview", "image2": "wrist"}  # LeRobot's names: ours
INSTRUCTION, OTHER_INSTRUCTION = "pick up the black bowl", "close the top drawer"
INPUTS = ("frames", "state", "instruction", "noise")
LARGE = 2**22  # elements of a tensor that goes into a file
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

    `relative_error_of_*`: both programs' difference over LeRobot's length. `change_with_*`, at small size: the same for
    our chunk where one input is another; an input that hardly changed anything would not have been compared.
    Raises ImportError where LeRobot is not installed.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as patches:
        if size == "small":
            _shrink(kind, patches)
        observation, other = _observation(seed), _observation(seed + 1) | {"instruction": OTHER_INSTRUCTION}
        changed = {name: observation | {name: other[name]} for name in (INPUTS if size == "small" else ())}
        theirs = _run_lerobot(kind, dtype, device, Path(folder), observation, patches)
        gc.collect()
        ours = _run_kvlab(dtype, device, Path(folder), [observation, *changed.values()])
    errors = {name: relative(ours[0][name], theirs[name]) for name in ("chunk", "actions")}
    return {
        "policy": kind,
        "dtype": dtype,
        "size": size,
        **{f"relative_error_of_{name}": error for name, error in errors.items()},
        "allowed": ALLOWED[dtype],
        "passed": max(errors.values()) < ALLOWED[dtype],
        **{f"change_with_{k}": relative(o["chunk"], ours[0]["chunk"]) for k, o in zip(changed, ours[1:], strict=True)},
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
        "instruction": INSTRUCTION,
    }


def _run_lerobot(
    kind: str, dtype: str, device: str, folder: Path, observation: dict, patches: ExitStack
) -> dict[str, np.ndarray]:
    """LeRobot's chunk and actions; the checkpoint and its processors are left in `folder`."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.factory import get_policy_class, make_policy_config, make_pre_post_processors
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer = byte_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    stand_in = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>")
    patches.enter_context(patch.object(AutoTokenizer, "from_pretrained", lambda *_, **__: stand_in))
    config = make_policy_config(kind, dtype=dtype, device=device, tokenizer_max_length=200)
    visual = PolicyFeature(FeatureType.VISUAL, (3, 256, 256))
    config.input_features = {f"observation.images.{name}": visual for name in CAMERAS}
    config.input_features["observation.state"] = PolicyFeature(FeatureType.STATE, (WIDTHS["observation.state"],))
    config.output_features = {"action": PolicyFeature(FeatureType.ACTION, (WIDTHS["action"],))}
    policy = _random(get_policy_class(kind), config, folder)
    before, after = make_pre_post_processors(config, dataset_stats=_statistics())
    for part in (policy, before, after):
        part.save_pretrained(folder)
    batch = {
        f"observation.images.{k}": torch.from_numpy(v).permute(2, 0, 1) / 255 for k, v in observation["frames"].items()
    }
    batch |= {"observation.state": torch.from_numpy(observation["state"]), "task": observation["instruction"]}
    noise = torch.from_numpy(observation["noise"]).to(device)
    chunk = policy.predict_action_chunk(before(batch), noise=noise).float()
    return {"chunk": chunk[0].cpu().numpy(), "actions": after(chunk)[0].numpy()}


class _InFiles(TorchFunctionMode):
    """Large tensors that are made meanwhile lie in files of `folder`: pages that memory lacks are read again."""

    MAKERS = (torch.empty, torch.Tensor.to, torch.cat)

    def __init__(self, folder: Path):
        super().__init__()
        self._file = folder / "tensor"

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        large = func in self.MAKERS and made.numel() >= LARGE and made.device.type == "cpu"
        if not large or any(made is x for x in args[:1]):
            return made
        mapped = torch.from_file(str(self._file), shared=True, size=made.numel(), dtype=made.dtype).view(made.shape)
        self._file.unlink()  # its space is freed with the tensor
        return mapped if func is torch.empty else mapped.copy_(made)


def _random(policy_class: type, config, folder: Path):
    """A policy whose every parameter is random: norms too, since a wrong norm would not be seen under zeros."""
    starts = [name for name in vars(torch.nn.init) if name.endswith("_") and not name.startswith("_")]
    with ExitStack() as patches:  # billions of numbers would be drawn several times over
        for name in starts:
            patches.enter_context(patch.object(torch.nn.init, name, lambda tensor, *_, **__: tensor))
        with _InFiles(folder):
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


def byte_tokenizer() -> Tokenizer:
    """A tokenizer of single bytes, as many tokens as a text has bytes and one that begins it."""
    symbols = ["<pad>", "<eos>", "<bos>", *sorted(ByteLevel.alphabet())]
    tokenizer = Tokenizer(BPE({s: i for i, s in enumerate(symbols)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(symbols[:3])
    tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return tokenizer


def _run_kvlab(dtype: str, device: str, folder: Path, observations: list[dict]) -> list[dict[str, np.ndarray]]:
    with patch.object(weights, "require_memory", lambda *_: None), _InFiles(folder):
        policy = load(folder, device, getattr(torch, dtype))
    return [_predict(policy, observation) for observation in observations]


@torch.inference_mode()
def _predict(policy: Policy, observation: dict) -> dict[str, np.ndarray]:
    model, state = policy.model, observation["state"]
    images = policy.images({CAMERAS[name]: frame for name, frame in observation["frames"].items()})
    tokens = policy.tokens(observation["instruction"], state)
    noise = torch.from_numpy(observation["noise"]).to(policy.device, images.dtype)
    chunk = model.sample_actions(images, tokens, policy.state(state), noise)
    return {"chunk": chunk[0, :, : policy.action_dim].float().cpu().numpy(), "actions": policy.actions(chunk, state)}


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The distance of both over the length of the latter."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _circumstances(device: str) -> dict[str, str]:
    return {
        "machine": torch.cuda.get_device_name() if device == "cuda" else processor(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("lerobot", "transformers", "torch")},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _add(out: Path, row: dict[str, object]) -> None:
    """Put the row into the file, in the place of an earlier one of the same case."""
    same = ("policy", "dtype", "size", "machine")
    rows = json.loads(out.read_text()) if out.exists() else []
    rows = [r for r in rows if any(r[name] != row[name] for name in same)] + [row]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policies", nargs="+", choices=("pi0", "pi05"), default=["pi0", "pi05"])
    parser.add_argument("--sizes", nargs="+", choices=("small", "base"), default=["small", "base"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtypes", nargs="+", choices=ALLOWED, default=list(ALLOWED))
    parser.add_argument("--out", type=Path, default=DATA / "parity" / "lerobot.json")
    args = parser.parse_args()
    passed = True
    cases = list(itertools.product(args.sizes, args.policies, args.dtypes))
    for size, policy, dtype in tqdm(cases, desc="comparing", unit="case"):
        row = compare(policy, dtype, size, args.device) | _circumstances(args.device)
        _add(args.out, row)
        print(json.dumps(row, indent=2))
        passed &= row["passed"]
    if not passed:
        raise SystemExit("some action chunks differ by more than is allowed")


if __name__ == "__main__":
    main()
