"""A Pi0 so small that a test can run it: two cameras of four tokens, streams of different width; what it sees."""

from dataclasses import replace

import numpy as np

from kvlab.pi0 import GemmaConfig, Pi0Config, SiglipConfig
from kvlab.sim.env import Observation
from kvlab.study.observations import Episode


def small_config(depth: int = 2, **changes) -> Pi0Config:
    """Takes LIBERO's states and actions; `changes` are other fields of the config."""
    stream = {"mlp_dim": 48, "depth": depth, "num_heads": 4, "num_kv_heads": 1, "head_dim": 8}
    config = Pi0Config(
        vision=SiglipConfig(width=16, depth=1, mlp_dim=24, num_heads=2, patch_size=16),
        prefix=GemmaConfig(width=32, **stream),
        expert=GemmaConfig(width=24, **stream),
        vocab_size=16,
        max_tokens=24,
        image_size=32,
        cameras=("agentview", "wrist"),
        state_dim=8,
        action_dim=7,
        chunk=8,
        denoising_steps=2,
    )
    return replace(config, **changes)


_STREAM = GemmaConfig(width=32, mlp_dim=64, depth=2, num_heads=2, num_kv_heads=1, head_dim=32)  # what the engine takes
FOR_THE_ENGINE = small_config(
    prefix=_STREAM, expert=_STREAM, vocab_size=300, max_tokens=12, state_dim=4, action_dim=3, chunk=6, denoising_steps=1
)


def observed(instruction: str, states: int) -> list[Episode]:
    """An episode of three and one of two replans, of random frames and states of so many numbers."""
    rng = np.random.default_rng(0)

    def seen():
        images = {c: rng.integers(0, 256, (32, 32, 3), np.uint8) for c in ("agentview", "wrist")}
        return Observation(images, rng.normal(size=states).astype(np.float32))

    return [Episode(instruction, [seen() for _ in range(n)]) for n in (3, 2)]
