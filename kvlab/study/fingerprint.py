"""What a machine computes, as hashes: where all agree, it records the same rows to the bit.

`fingerprint` takes a second and needs neither a checkpoint nor LIBERO. `python -m kvlab.study.fingerprint CHECKPOINT`
prints it together with the stages of an inference and of an episode, so that two machines which differ can be
compared line by line.
"""

import hashlib
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import mujoco
import numpy as np
import torch
import torch.nn.functional as F

from kvlab import numerics
from kvlab.pi0 import Policy
from kvlab.pi0.cache import LANGUAGE
from kvlab.pi0.layers import rope
from kvlab.pi0.model import time_embedding
from kvlab.pi0.portable import Product, attend, portable
from kvlab.sim.env import LiberoEnv
from kvlab.sim.osc import _torques
from kvlab.sim.render import Renderer
from kvlab.sim.suites import task
from kvlab.study.protocol import Protocol
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting
from kvlab.study.trial import load_policy

SCENE = """
<mujoco>
  <asset><texture name="t" type="2d" builtin="checker" rgb1=".9 .3 .1" rgb2=".1 .2 .8" width="64" height="64"/>
  <material name="m" texture="t" specular=".4" shininess=".6"/></asset>
  <worldbody><light pos=".5 -1 2" dir="-.2 .4 -1"/><camera name="c" pos="0 -1.2 .8" xyaxes="1 0 0 0 .5 .8"/>
  <geom type="plane" size="1 1 .1" material="m" group="1"/><body pos="0 0 .3"><freejoint/>
  <geom type="ellipsoid" size=".2 .3 .1" euler="20 30 40" material="m" group="1"/></body></worldbody>
</mujoco>
"""

PORTABLE = {  # with portable numerics, on every processor; seen on AMD and Intel ones with and without AVX-512
    "libm": "542e38b515ba",
    "numpy": "5f56a8d4984e",
    "torch": "b666e2514a3f",
    "products": "85463b2528c7",
    "controller": "c60bd3e44fe5",
    "physics": "6c16be77cd74",
}


def digest(*arrays) -> str:
    """Twelve hexadecimal digits of the bytes of arrays or tensors."""
    sha = hashlib.sha256()
    for one in arrays:
        sha.update(np.ascontiguousarray(one).tobytes())
    return sha.hexdigest()[:12]


def fingerprint() -> dict[str, str]:
    """Hash of each part of an episode's arithmetic, on numbers that are always the same."""
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        return {
            "libm": _libm(rng),
            "numpy": _numpy(rng),
            "torch": _torch(rng),
            "products": _products(rng),
            "controller": _controller(rng),
            **_scene(),
        }


def _libm(rng: np.random.Generator) -> str:
    names = ("sin", "cos", "tan", "asin", "acos", "atan", "exp", "log", "sqrt")
    return digest([getattr(math, name)(x) for name in names for x in rng.uniform(0.01, 0.99, 200).tolist()])


def _numpy(rng: np.random.Generator) -> str:
    x = rng.uniform(0.01, 0.99, (50, 9))
    old = np.random.RandomState(0)
    parts = [x.sum(), x.sum(1), x.mean(0), x.var(0), np.sqrt(x), x.astype(np.float32).sum(), np.linalg.norm(x, axis=1)]
    return digest(*parts, rng.standard_normal(500, np.float32), old.randn(100), old.uniform(size=100))


def _torch(rng: np.random.Generator) -> str:
    x = torch.from_numpy(rng.standard_normal((3, 161, 256), np.float32))
    images, filters = x[:, :128, :128][None], torch.from_numpy(rng.standard_normal((32, 3, 3, 3), np.float32))
    return digest(
        x.softmax(-1),
        F.gelu(x, approximate="tanh"),
        F.silu(x),
        F.layer_norm(x, (256,), eps=1e-6),
        F.rms_norm(x, (256,), eps=1e-6),
        x.double().square().sum(),
        F.adaptive_avg_pool2d(x, 16),
        F.conv2d(images, filters, stride=2, padding=1),
        time_embedding(torch.linspace(0, 1, 10), 192),
        *rope(torch.arange(200)[None], 64, torch.float32),
    )


def _products(rng: np.random.Generator) -> str:
    def draw(*shape):
        return torch.from_numpy(rng.standard_normal(shape, np.float32))

    found = []
    for rows, inputs, outputs in ((1, 192, 384), (16, 192, 1152), (16, 576, 192), (152, 256, 1536), (152, 768, 256)):
        layer = torch.nn.Linear(inputs, outputs)
        layer.weight, layer.bias = torch.nn.Parameter(draw(outputs, inputs)), torch.nn.Parameter(draw(outputs))
        found.append(Product(layer)(draw(rows, inputs)))
    for rows, keys in ((64, 169), (4, 153), (608, 152)):
        found.append(attend(draw(1, 1, rows, 64), draw(1, 1, keys, 64), draw(1, 1, keys, 64)))
    return digest(*found, attend(draw(2, 3, 64, 64), draw(2, 3, 64, 64), draw(2, 3, 64, 64)))


def _controller(rng: np.random.Generator) -> str:
    found = []
    for _ in range(50):
        jacobian, root = rng.standard_normal((6, 7)), rng.standard_normal((7, 7))
        mass, turns = root @ root.T + np.eye(7), rng.standard_normal((2, 3, 3))
        found.append(_torques(jacobian, mass, *rng.standard_normal((1, 3)), *turns, *rng.standard_normal((2, 7))))
    return digest(*found)


def _scene() -> dict[str, str]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 300)
    renderer = Renderer(model, "fast", 64)
    frame = renderer.draw(data, [0])
    renderer.close()
    return {"physics": digest(data.qpos, data.qvel), "frame": digest(*frame)}


def stages(checkpoint: Path) -> dict[str, str]:
    """`fingerprint`, then an inference and the beginning of an episode, each stage by its hash."""
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
    found |= {f"replan {number}": digest(replan["first_action"]) for number, replan in enumerate(replans)}
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
        prefix = model.prefill({name: (x, torch.ones(x.shape[:2], dtype=torch.bool)) for name, x in embeds.items()})
        cache = model.encode_state(state, prefix)
        chunk = model.denoise(cache, noise)
    return {
        "image tokens": digest(*seen.values()),
        "prefix": digest(*prefix.stacked()),
        "state token": digest(*cache.stacked()),
        "chunk": digest(chunk),
    }


def main() -> None:
    kind = "native" if "--native" in sys.argv else "portable"
    with numerics.environment(kind), ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for name, value in pool.submit(stages, Path(sys.argv[1])).result().items():
            print(f"{name:20}{value}")


if __name__ == "__main__":
    main()
