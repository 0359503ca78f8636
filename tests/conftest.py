"""For every test: off-screen OpenGL, Triton interpreted, one thread for torch (several processes share the cores)."""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
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
    if workers := sys.modules.get("kvlab.sim.workers"):
        workers.kept_env.cache_clear()


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

    from kvlab.sim.render import Renderer
    from kvlab.study.trial import gl_kind

    renderer = Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), "stock", 16)
    kind = gl_kind(renderer.driver)
    renderer.close()
    return kind


@pytest.fixture
def make_row() -> Callable[..., dict]:
    """`make_row(task, state, reuses)`: an episode of three replans, the second reused if `reuses`."""
    return _row


@pytest.fixture
def make_records() -> Callable:
    """`make_records((setting, row), ...)`: validated records of these rows."""
    from pyarrow import concat_tables

    from kvlab.study.recordings import Recording, stored
    from kvlab.study.records import collect

    def made(*rows):
        recordings = (Recording(Path(), {"suite": "libero_spatial", "setting": asdict(one)}) for one, _ in rows)
        tables = [one.named(stored([row])) for one, (_, row) in zip(recordings, rows, strict=True)]
        return collect(concat_tables(tables))

    return made


def _row(task: int = 0, state: int = 0, reuses: bool = False, seed: int = 0) -> dict:
    ages = [0, int(reuses), 0]
    replans = [{"replan": n, "step": 5 * n, **asdict(_replan(n, age))} for n, age in enumerate(ages)]
    return {
        **{"task": task, "initial_state": state, "seed": seed},
        **{"success": (task + state) % 3 > 0, "steps": 13, "replans": len(ages), "reused": sum(ages), "error": None},
        **{"wall_s": 1.25, "order": 0, "recorded": "2024-01-01T00:00:00+00:00"},
        **{"processor": "a", "instructions": "AVX2", "torch": "2", "drawn_by": "b", "computed_by": "cpu"},
        **{"numerics": "portable", "replan_rows": replans},
    }


def _replan(n: int, age: int):
    from kvlab.reuse import Replan

    anchor = 1 - n / 100 if n else float("nan")
    similar = {"anchor": anchor, "previous": 1 - n / 200 if n > 1 else anchor}
    similar = {f"{signal}_{to}": cosine for signal in ("vision", "pixels", "state") for to, cosine in similar.items()}
    phases = {
        "gripper": 0.0,
        "curvature": 0.1,
        "spread": float("nan"),
        "distance": 0.3,
        "settled": 0.2,
        "verify": float("nan"),
    }
    times = {f"ms_{stage}": 4.0 for stage in ("gate", "vision", "prefill", "denoise", "total")}
    acted = {
        "bits": 2**32 - 1 - n,
        "kept_tokens": 0,
        "denoised": 10,
        "executed": 5,
    }
    return Replan(reused=age > 0, age=age, **similar, **phases, **times, **acted)
