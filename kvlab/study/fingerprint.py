"""What a machine computes, as hashes: where all agree, it records the same rows to the bit.

It takes under a second, and needs neither a checkpoint nor LIBERO; what follows from it in an inference and an episode,
`kvlab.study.stages` shows.
"""

import hashlib
import math
import platform
from functools import cache, partial
from importlib import metadata

import mujoco
import numpy as np
import torch
import torch.nn.functional as F

from kvlab.pi0.int8 import Int8Linear
from kvlab.pi0.layers import rope
from kvlab.pi0.model import time_embedding
from kvlab.pi0.portable import Product, attend
from kvlab.sim.osc import joint_torques

SCENE = """
<mujoco><worldbody><geom type="plane" size="1 1 .1"/><body pos="0 0 .3"><freejoint/>
<geom type="ellipsoid" size=".2 .3 .1" euler="20 30 40"/></body></worldbody></mujoco>
"""
PORTABLE = {  # with portable numerics, on every processor; seen on AMD and Intel ones with and without AVX-512
    "libm": "542e38b515ba",
    "numpy": "5f56a8d4984e",
    "torch": "b666e2514a3f",
    "products": "85463b2528c7",
    "controller": "c60bd3e44fe5",
    "int8": "6fa6644ef375",
    "physics": "6c16be77cd74",
}


def digest(*arrays) -> str:
    """Twelve hexadecimal digits of the bytes of arrays or tensors. TypeError for objects, whose bytes are addresses."""
    sha = hashlib.sha256()
    for one in map(np.ascontiguousarray, arrays):
        if one.dtype == object:
            raise TypeError("only numbers have bytes that are the same in every process, not objects such as None")
        sha.update(one.tobytes())
    return sha.hexdigest()[:12]


def fingerprint() -> dict[str, str]:
    """Hash of each part of an episode's arithmetic, on numbers that are always the same."""
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        parts = {
            "libm": _libm,
            "numpy": _numpy,
            "torch": _torch,
            "products": _products,
            "controller": _controller,
            "int8": _int8,
        }
        return {name: part(rng) for name, part in parts.items()} | {"physics": _physics()}


@cache
def check_bits() -> None:
    """ValueError that names what this process computes otherwise than PORTABLE, so that its rows would be others."""
    found = fingerprint()
    if other := [part for part, bits in PORTABLE.items() if found[part] != bits]:
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "mujoco", "numba"))
        raise ValueError(
            f"{platform.node()} computes {', '.join(other)} to other bits than portable numerics have everywhere "
            f"({versions}, {' '.join(platform.libc_ver())}): take the versions of constraints.txt, or numerics 'native'"
        )


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
    draw, found = partial(_drawn, rng), []
    for rows, inputs, outputs in ((1, 192, 384), (16, 192, 1152), (16, 576, 192), (152, 256, 1536), (152, 768, 256)):
        found.append(Product(_linear(rng, inputs, outputs))(draw(rows, inputs)))
    for rows, keys in ((64, 169), (4, 153), (608, 152)):
        found.append(attend(draw(1, 1, rows, 64), draw(1, 1, keys, 64), draw(1, 1, keys, 64)))
    return digest(*found, attend(draw(2, 3, 64, 64), draw(2, 3, 64, 64), draw(2, 3, 64, 64)))


def _controller(rng: np.random.Generator) -> str:
    found = []
    for _ in range(50):
        jacobian, root = rng.standard_normal((6, 7)), rng.standard_normal((7, 7))
        mass, turns = root @ root.T + np.eye(7), rng.standard_normal((2, 3, 3))
        found.append(joint_torques(jacobian, mass, *rng.standard_normal((1, 3)), *turns, *rng.standard_normal((2, 7))))
    return digest(*found)


def _int8(rng: np.random.Generator) -> str:
    return digest(Int8Linear(_linear(rng, 768, 256))(_drawn(rng, 152, 768)))


def _linear(rng: np.random.Generator, inputs: int, outputs: int) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs, outputs)
    layer.weight, layer.bias = (torch.nn.Parameter(_drawn(rng, *shape)) for shape in ((outputs, inputs), (outputs,)))
    return layer


def _drawn(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, np.float32))


def _physics() -> str:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 300)
    return digest(data.qpos, data.qvel)
