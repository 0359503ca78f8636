"""A model small enough to build in every test, with every parameter random: norms and biases too."""

import numpy as np
import pytest
import torch

from kvlab.pi0 import GemmaConfig, Pi0, Pi0Config, Policy, SiglipConfig
from kvlab.pi0.data import word_tokenizer


@pytest.fixture(scope="session")
def tiny() -> Pi0Config:
    """Two key-value heads for four query heads, streams of different width, two cameras of four tokens."""
    return Pi0Config(
        vision=SiglipConfig(width=16, depth=1, mlp_dim=24, num_heads=2, patch_size=4, stem=(8,)),
        prefix=GemmaConfig(width=32, mlp_dim=48, depth=3, num_heads=4, num_kv_heads=2, head_dim=8),
        expert=GemmaConfig(width=24, mlp_dim=40, depth=3, num_heads=4, num_kv_heads=2, head_dim=8),
        vocab_size=16,
        max_tokens=6,
        image_size=16,
        cameras=("agentview", "wrist"),
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
