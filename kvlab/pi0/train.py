"""Training by flow matching: AdamW, cosine schedule, averaged weights, bfloat16; resumable at any interruption."""

import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from kvlab.pi0 import data
from kvlab.pi0.cache import LANGUAGE
from kvlab.pi0.checkpoint import checkpoint_digest, load, save
from kvlab.pi0.config import PRESETS, Pi0Config
from kvlab.pi0.int8 import is_int8
from kvlab.pi0.model import Embeds, Pi0
from kvlab.pi0.policy import Policy
from kvlab.pi0.rotation import without_jumps

STATE_FILE, CURVE = "training.pt", "curve.csv"
WARMUP_STEPS = 200
VALIDATION_STATE = "state49"  # the demonstrations of this initial state only measure the loss


def train(
    demos: Path,
    out: Path,
    *,
    steps: int = 10_000,
    batch: int = 256,
    draws: int = 4,
    learning_rate: float = 5e-4,
    device: str = "cpu",
    seed: int = 0,
    save_every: int = 1000,
    preset: str = "mini",
    rotation: str = "axis_angle",
    start: Path | None = None,
) -> None:
    """Train a preset (one of `config.TRAINED`) on a folder of demonstrations and write a checkpoint with its curve.

    `rotation`, one of ROTATIONS, is the form in which the model takes the state's orientation.
    `start` is the folder of a checkpoint to go on from: its weights, shape, tokenizer and statistics.

    Runs on from the last saved step if `out` holds an unfinished training with the same settings. Step n draws its
    batch and noise from (seed, n) alone, so that an interrupted run sees the same batches as one that was not.
    Raises ValueError where `start` is in int8 or comes with a preset or a rotation, which it has itself, where `demos`
    holds no demonstrations or `out` holds a training with other settings, and where the loss is no number any more.
    """
    files = sorted(demos.glob("**/*.safetensors"))
    held_out = [f for f in files if VALIDATION_STATE in f.name]
    if start and (preset, rotation) != ("mini", "axis_angle"):
        raise ValueError(f"{start} has its own sizes and its own rotation: leave preset and rotation out")
    first = load(start) if start else None
    if first and is_int8(first.model):
        raise ValueError(f"{start} is in int8, which cannot be trained: start from the checkpoint it was made from")
    config = first.config if first else PRESETS[preset].without_jumps() if rotation == "6d" else PRESETS[preset]
    train_set = _read([f for f in files if f not in held_out], config, device)
    tokenizer = first.tokenizer if first else data.word_tokenizer(train_set.languages)
    config = replace(config, vocab_size=tokenizer.get_vocab_size())
    stats = first.stats if first else data.statistics(train_set)
    torch.manual_seed(seed)
    model = Pi0(config).to(device)
    if first:
        model.load_state_dict(first.model.state_dict())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01, fused=True
    )
    settings = {"steps": steps, "batch": batch, "draws": draws, "learning_rate": learning_rate, "seed": seed}
    settings |= {"start": checkpoint_digest(start)} if start else {"preset": preset, "rotation": rotation}
    settings |= {"demonstrations": len(files), "frames": len(train_set)}
    out.mkdir(parents=True, exist_ok=True)
    done, curve = _resume(out, settings, model, average, optimizer, device)
    sampler = _Sampler(train_set, tokenizer, stats, config, batch, device)
    checks = held_out and _Sampler(_read(held_out, config, device), tokenizer, stats, config, batch, device)
    loss_of = torch.compile(_loss) if torch.device(device).type == "cuda" else _loss  # launches bound small models
    began, losses = time.perf_counter() - (curve[-1]["seconds"] if curve else 0.0), []
    for step in tqdm(range(done, steps), initial=done, total=steps, desc="training", unit="step"):
        torch.manual_seed(seed * steps + step)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * schedule(step, steps)
        loss = loss_of(model, sampler.draw(augment=True), draws, device)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.detach())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            row = {"step": step + 1, "loss": torch.stack(losses).mean().item(), "validation_loss": np.nan}
            if not math.isfinite(row["loss"]):
                raise ValueError(
                    f"the loss is {row['loss']} at step {step + 1}: this training diverged; train into another folder "
                    f"with a learning rate under {learning_rate:g} (what was saved before is kept in {out})"
                )
            if checks and ((step + 1) % save_every == 0 or step + 1 == steps):
                row["validation_loss"] = _validate(average.module, checks, device)
            curve.append(row | {"seconds": round(time.perf_counter() - began, 1)})
            losses.clear()
        if (step + 1) % save_every == 0 or step + 1 == steps:
            trained_on = settings | {"suites": sorted({f.parent.name for f in files}), **train_set.facts}
            trained_on |= _initial_states(files) | ({"started_from": dict(first.trained_on)} if first else {})
            save(Policy(average.module, stats, tokenizer, trained_on | {"step": step + 1}), out)
            _save_state(out, settings, step + 1, curve, model, average, optimizer)


def _read(files: list[Path], config: Pi0Config, device: str) -> data.Demonstrations:
    """Demonstrations with the state in the form that the model takes."""
    demos = data.read(files, config.cameras, device)
    if config.rotation != "6d":
        return demos
    return replace(demos, states=torch.from_numpy(without_jumps(demos.states.cpu().numpy())).to(device))


def _initial_states(files: list[Path]) -> dict[str, list[int]]:
    """Which official initial states the demonstrations begin from, where all their names say it."""
    found = [re.search(r"_state(\d+)_", file.name) for file in files]
    return {"initial_states": sorted({int(one[1]) for one in found})} if all(found) else {}


class _Sampler:
    """Draws batches from a set of demonstrations."""

    def __init__(self, demos, tokenizer, stats: Mapping[str, np.ndarray], config, batch: int, device: str):
        self.demos, self.batch, self.chunk = demos, batch, config.chunk
        self.tokens = data.padded_tokens(tokenizer, demos.languages, config.max_tokens, device)
        self.stats = {k: torch.as_tensor(v, device=device) for k, v in stats.items()}

    def draw(self, augment: bool) -> data.Batch:
        steps = torch.randint(len(self.demos), (self.batch,), device=self.demos.last.device)
        return data.sample(self.demos, steps, self.tokens, self.stats, self.chunk, augment)


def schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine to zero; the share of the full learning rate, in (0, 1]."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def embed(model: Pi0, batch: data.Batch) -> Embeds:
    """The prefix segments of a batch, ready for `Pi0.prefill`."""
    cameras = model.config.cameras
    tokens = model.embed_images(batch.images.flatten(0, 1)).unflatten(0, (len(cameras), -1))
    segments = {name: (tokens[i], None) for i, name in enumerate(cameras)}
    return segments | {LANGUAGE: (model.embed_language(batch.tokens), batch.tokens_valid)}


def _loss(model: Pi0, batch: data.Batch, draws: int, device: str) -> Float[Tensor, ""]:
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        return model.loss(embed(model, batch), batch.state, batch.actions, batch.actions_valid, draws)


@torch.no_grad()
def _validate(model: Pi0, checks: _Sampler, device: str) -> float:
    torch.manual_seed(0)  # the same batches and noise every time
    return float(np.mean([_loss(model, checks.draw(augment=False), 4, device).item() for _ in range(4)]))


def _save_state(out: Path, settings: dict, step: int, curve: list[dict], model, average, optimizer) -> None:
    pd.DataFrame(curve).to_csv(out / f"{CURVE}.part", index=False, float_format="%.6g")
    os.replace(out / f"{CURVE}.part", out / CURVE)
    state = {"settings": settings, "step": step, "curve": curve, "model": model.state_dict()}
    state |= {"average": average.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, out / f"{STATE_FILE}.part")
    os.replace(out / f"{STATE_FILE}.part", out / STATE_FILE)


def _resume(out: Path, settings: dict, model, average, optimizer, device: str) -> tuple[int, list[dict]]:
    if not (out / STATE_FILE).exists():
        return 0, []
    state = torch.load(out / STATE_FILE, map_location=device, weights_only=True)  # tensors and numbers, never code
    if state["settings"] != settings:
        raise ValueError(f"{out} holds a training with {state['settings']}, not {settings}; choose another folder")
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["curve"]
