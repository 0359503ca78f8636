"""A tiny random policy in float64, and observations for it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from kvlab.pi0 import Pi0, Policy
from kvlab.pi0.data import word_tokenizer
from small import small_config


@dataclass(frozen=True)
class Observation:
    images: dict[str, np.ndarray]
    state: np.ndarray


@pytest.fixture(scope="session")
def observations() -> list[Observation]:
    """Five moments that have nothing in common."""
    rng = np.random.default_rng(0)
    cameras = ("agentview", "wrist")
    return [
        Observation(
            {c: rng.integers(0, 256, (32, 32, 3), np.uint8) for c in cameras}, rng.normal(size=4).astype(np.float32)
        )
        for _ in range(5)
    ]


@pytest.fixture(scope="session")
def policy() -> Policy:
    """With every parameter random, norms and biases too, and no normalisation, so that numbers are easy to follow."""
    config = small_config(depth=3, max_tokens=6, state_dim=4, action_dim=3, chunk=4, denoising_steps=3)
    torch.manual_seed(0)
    model = Pi0(config)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    widths = {"state": 4, "action": 3}
    stats = {f"{k}_mean": np.zeros(w, np.float32) for k, w in widths.items()}
    stats |= {f"{k}_std": np.ones(w, np.float32) for k, w in widths.items()}
    tokenizer = word_tokenizer(("pick up the bowl", "place it on the plate"))
    return Policy(model.double().requires_grad_(False), stats, tokenizer, {})
