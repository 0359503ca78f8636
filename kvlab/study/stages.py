"""What a machine computes, stage by stage, as hashes: two that differ are compared line by line.

    python -m kvlab.study.stages CHECKPOINT [--native]

prints those of `kvlab.study.fingerprint`, of an inference, and of the checkpoint's first episode.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from kvlab import numerics
from kvlab.pi0 import Policy
from kvlab.pi0.cache import LANGUAGE, KVCache
from kvlab.pi0.portable import portable
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import task
from kvlab.study.fingerprint import digest, fingerprint
from kvlab.study.loading import load_policy
from kvlab.study.protocol import Protocol
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting


def stages(checkpoint: Path) -> dict[str, str]:
    """The fingerprint, an inference and an episode, each stage by its hash."""
    torch.set_num_threads(1)
    policy = load_policy(checkpoint, "cpu")
    policy = portable(policy) if numerics.is_portable() else policy
    found = fingerprint() | _inference(policy)
    env = LiberoEnv(task(policy.trained_on["suites"][0], 0))
    env.reset(0, 0)
    found["reset"] = digest(env.data.qpos, env.data.qvel, env.model.body_pos, env.model.body_quat)
    seen = env.observe()
    found |= {f"frame {name}": digest(image) for name, image in seen.images.items()} | {"state": digest(seen.state)}
    for action in np.random.default_rng(0).uniform(-1, 1, (40, 7)):
        env.step(action)
    found["40 control steps"] = digest(env.data.qpos, env.data.qvel)
    outcome, replans, _ = rollout(env, Setting("none").on(policy, Protocol.replan_every), 0, 0)
    found |= {f"replan {number}": digest(np.uint32(replan["bits"])) for number, replan in enumerate(replans)}
    found["episode"] = f"{'success' if outcome['success'] else 'failure'} after {outcome['steps']} control steps"
    return found


def _inference(policy: Policy) -> dict[str, str]:
    rng, model, config = np.random.default_rng(0), policy.model, policy.config
    frames = {name: rng.integers(0, 256, (128, 128, 3), np.uint8) for name in config.cameras}
    state = policy.state(rng.standard_normal(policy.state_dim, np.float32))
    noise = torch.from_numpy(rng.standard_normal((1, config.chunk, config.action_dim), np.float32))
    with torch.inference_mode():
        seen = dict(zip(config.cameras, model.embed_images(policy.images(frames))[:, None], strict=True))
        embeds = seen | {LANGUAGE: model.embed_language(policy.tokens("pick up the bowl"))}
        prefix = model.prefill({name: (x, None) for name, x in embeds.items()})
        cache = model.encode_state(state, prefix)
        chunk = model.denoise(cache, noise)
    return {
        "image tokens": digest(*seen.values()),
        "prefix": _of_cache(prefix),
        "state token": _of_cache(cache),
        "chunk": digest(chunk),
    }


def _of_cache(cache: KVCache) -> str:
    """Its hash; where no token is padding, every one is there."""
    keys, values, valid = cache.stacked()
    every = torch.ones(keys.shape[1], keys.shape[3], dtype=torch.bool)
    return digest(keys, values, every if valid is None else valid)


def main() -> None:
    kind = "native" if "--native" in sys.argv else "portable"
    with numerics.environment(kind), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for name, value in pool.submit(stages, Path(sys.argv[1])).result().items():
            print(f"{name:20}{value}")


if __name__ == "__main__":
    main()
