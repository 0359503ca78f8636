"""For every test: off-screen OpenGL, and one thread for torch, since several test processes share the cores."""

import os
import sys

import pytest

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    import torch

    torch.set_num_threads(1)
