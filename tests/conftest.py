"""For every test: off-screen OpenGL, Triton interpreted, one thread for torch (several processes share the cores)."""

import os
import sys
from pathlib import Path

import pytest

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("TRITON_INTERPRET", "1")  # the engine's kernels run on the CPU; read when they are imported


@pytest.fixture(autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def scenes_end_with_their_module():
    """A process keeps a study's environments; open until it ends, they outlive the display that robosuite closes."""
    yield
    if study := sys.modules.get("kvlab.lab.study"):
        study._env.cache_clear()


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """A checkpoint of the right shape for `libero_spatial`, tiny and random: it runs every path and solves nothing."""
    import numpy as np
    import torch

    from kvlab.pi0 import Pi0, Policy, save
    from kvlab.pi0.data import word_tokenizer
    from kvlab.sim.suites import tasks
    from small import small_config

    tokenizer = word_tokenizer(tuple(task.language for task in tasks("libero_spatial")))
    config = small_config(vocab_size=tokenizer.get_vocab_size())
    torch.manual_seed(0)
    stats = {"state_mean": np.zeros(8), "state_std": np.ones(8), "action_mean": np.zeros(7), "action_std": np.ones(7)}
    folder = tmp_path_factory.mktemp("checkpoints") / "untrained"
    save(Policy(Pi0(config), stats, tokenizer, {"suites": ["libero_spatial"], "render": "fast"}), folder)
    return folder


@pytest.fixture(scope="session")
def gl() -> str:
    """What draws on this machine: software or hardware."""
    import mujoco

    from kvlab.lab.study import gl_kind
    from kvlab.sim.render import Renderer

    renderer = Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), "stock", 16)
    kind = gl_kind(renderer.driver)
    renderer.close()
    return kind
