"""A checkpoint's policy on one of the devices where kvlab computes; no simulator is needed."""

import json
from pathlib import Path

import torch

from kvlab.pi0 import Policy, load
from kvlab.pi0.portable import portable


def load_policy(
    checkpoint: Path, device: str, entries: str = "", numerics: str = "native", tokenizer: str | Path = ""
) -> Policy:
    """The checkpoint's policy as a study runs it on one of DEVICES, the others as in a protocol.

    Raises as `kvlab.pi0.load` does; ValueError for the engine where it cannot run the model, ModuleNotFoundError
    without Triton.
    """
    given = {"entries": json.loads(entries) if entries else None, "tokenizer": tokenizer or None}
    if device == "cpu":
        policy = load(checkpoint, **given)
        return portable(policy) if numerics == "portable" else policy
    policy = load(checkpoint, "cuda", torch.bfloat16, **given)
    if device.startswith("engine"):
        from kvlab.pi0.engine import accelerate  # needs Triton, which a study on a CPU does not

        policy = accelerate(policy, eight=device == "engine-fp8")
    return policy
