"""What else one would run Pi0 by on a GPU: the eager model in one CUDA graph, compiled too, and LeRobot's."""

import gc
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch

from kvlab.bench import latency
from kvlab.bench.gpu import WARM_UPS, observation, prompt, timed
from kvlab.pi0 import PRESETS, Pi0Config, Policy
from kvlab.pi0.engine.graphs import Graphs

COMPILED = ("embed_images", "prefill", "encode_state", "_velocity")  # one denoising step: ten take minutes to compile
MACHINE = ["processor", "computed_by"]  # what tells machines apart
LEROBOT = {"lerobot_ms": "LeRobot, not compiled", "lerobot_compiled_ms": "LeRobot, compiled"}  # fact: implementation
HOST_BOUND = ("eager", "LeRobot, not compiled")  # the processor starts each kernel


def in_one_graph(policy: Policy, runs: int, rounds: int) -> pd.DataFrame:
    """Rows of `measure` for no reuse as one would have it in ten lines: the eager model as a whole in one CUDA graph,
    and the same with each of `COMPILED` by torch.compile. A graph's stages have no times of their own (NaN).
    """
    rng, rows = np.random.default_rng(0), []
    seen = [observation(policy, rng) for _ in range(8)]
    turns = {"eager, one CUDA graph": _whole(policy), "compiled, one CUDA graph": _whole(policy, COMPILED)}
    for number in range(rounds):
        for implementation, infer in turns.items():
            times = [timed(partial(infer, *seen[run % 8]), policy.device) for run in range(WARM_UPS + runs)]
            rows += [
                {
                    "implementation": implementation,
                    "setting": str(latency.CONTROL),
                    "repeat": number,
                    "episode": 0,
                    "replan": replan,
                    "reused": False,
                    "ms_total": ms,
                }
                for replan, ms in enumerate(times[WARM_UPS:])
            ]
    return pd.DataFrame(rows)


def _whole(policy: Policy, compiled: Sequence[str] = ()) -> Callable[[dict[str, np.ndarray], np.ndarray], np.ndarray]:
    """From frames and state in main memory to actions there, as `CachedPolicy` goes; what is between is one graph."""
    model, config, rng = copy(policy.model), policy.config, np.random.default_rng(0)
    for name in compiled:
        setattr(model, name, torch.compile(getattr(policy.model, name), fullgraph=True, dynamic=False))
    graphs, tokens = Graphs(policy.device), policy.tokens(prompt(config))

    @torch.inference_mode()
    def infer(frames: dict[str, np.ndarray], state: np.ndarray) -> np.ndarray:
        images = policy.images(frames)
        noise = torch.from_numpy(rng.standard_normal((1, config.chunk, config.action_dim), np.float32))
        inputs = (images, tokens, policy.state(state), noise.to(images))
        return policy.actions(graphs("whole", lambda: model.sample_actions, *inputs), state)

    return infer


def lerobot_ms(config: Pi0Config, runs: int, tf32: bool = False, compiled: bool = False) -> list[float]:
    """Each chunk's time (ms) by LeRobot's `PI0Pytorch` in its bfloat16; `tf32` as its evaluation script sets it.

    `compiled` as its config offers it, in torch's mode of CUDA graphs: its default mode tries kernels for very long.
    ModuleNotFoundError where LeRobot is not installed. Its model is freed at the end.
    """
    way = {"compile_model": compiled, "compile_mode": "reduce-overhead"}
    from lerobot.policies.pi0.configuration_pi0 import PI0Config
    from lerobot.policies.pi0.modeling_pi0 import PI0Pytorch

    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    starts = [n for n in vars(torch.nn.init) if n.endswith("_") and not n.startswith("_")]
    with patch.multiple(torch.nn.init, **{n: lambda tensor, *_, **__: tensor for n in starts}), torch.device("cuda"):
        model = PI0Pytorch(PI0Config(dtype="bfloat16", device="cuda", **way)).to("cuda").eval().requires_grad_(False)
        for parameter in model.parameters():
            parameter.normal_(std=0.1 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
        cameras, words = len(config.cameras), config.max_tokens
        seen = {
            "images": [torch.rand(1, 3, config.image_size, config.image_size) * 2 - 1 for _ in range(cameras)],
            "img_masks": [torch.ones(1, dtype=torch.bool) for _ in range(cameras)],
            "lang_tokens": torch.randint(0, 1000, (1, words)),
            "lang_masks": torch.ones(1, words, dtype=torch.bool),
            "state": torch.randn(1, config.state_dim),
            "noise": torch.randn(1, config.chunk, config.action_dim),
            "num_steps": config.denoising_steps,
        }
    with torch.inference_mode():
        device = seen["state"].device
        times = [timed(lambda: model.sample_actions(**seen), device) for _ in range(WARM_UPS + runs)]
    torch.set_float32_matmul_precision("highest")
    del model
    gc.collect()
    torch.cuda.empty_cache()
    return times[WARM_UPS:]


def lerobot(config: Pi0Config, runs: int = 20) -> dict[str, object]:
    """LeRobot's version and times for the preset `base`; nothing where it is not installed, or for another model."""
    if config != PRESETS["base"] or find_spec("lerobot") is None:
        return {}
    ways = {"lerobot_ms": {}, "lerobot_tf32_ms": {"tf32": True}, "lerobot_compiled_ms": {"compiled": True}}
    times = {name: lerobot_ms(config, runs, **way) for name, way in ways.items()}
    return {"lerobot": metadata.version("lerobot"), **times}


def add_machine(path: Path, rows: pd.DataFrame, facts: dict[str, object]) -> None:
    """Put this run's medians without reuse (ms) into the table of machines at `path`, LeRobot's too, in the place of an
    earlier run of the same machine.
    """
    none = rows[rows["setting"] == str(latency.CONTROL)]
    medians = none.groupby("implementation", sort=False)["ms_total"].median()
    theirs = {name: float(np.median(facts[key])) for key, name in LEROBOT.items() if key in facts}
    new = pd.concat([medians, pd.Series(theirs, dtype=float)]).rename_axis("implementation").rename("ms").reset_index()
    new = new.assign(**{name: facts[name] for name in (*MACHINE, "date")})
    old = pd.read_csv(path) if path.exists() else new[:0]
    others = old[(old[MACHINE] != new[MACHINE].iloc[0]).any(axis=1)]
    pd.concat([others, new]).to_csv(path, index=False, float_format="%.6g")


def implementations(samples: pd.DataFrame, facts: dict[str, object], machines: pd.DataFrame | None) -> pd.DataFrame:
    """One row per way to run one model without reuse on the GPU, the fastest first: `ms` (median), `low`, `high`, `of`.

    `samples` and `facts` are a run's (`kvlab bench --device cuda`), `machines` the table of all runs. The range is from
    the 5th to the 95th percentile of that run, `of` 1. Where the processor starts every kernel, the time is the
    processor's: there it is of the medians of all runs, `of` how many, as soon as there are two. What this run lacks is
    of runs that had it.
    """
    none = samples[samples["setting"] == str(latency.CONTROL)]
    times = {name: rows["ms_total"] for name, rows in none.groupby("implementation")}
    times |= {name: pd.Series(facts[key]) for key, name in LEROBOT.items() if key in facts}
    rows = {}
    for name, ms in times.items():
        low, middle, high = ms.quantile([0.05, 0.5, 0.95])
        elsewhere = [] if machines is None else machines.loc[machines["implementation"] == name, "ms"]
        ranges = name in HOST_BOUND and len(elsewhere) > 1
        if ranges:
            low, high = min(elsewhere), max(elsewhere)
        rows[name] = {"ms": middle, "low": low, "high": high, "of": len(elsewhere) if ranges else 1}
    if machines is not None:
        for name, ms in machines.loc[~machines["implementation"].isin(rows), "ms"].groupby(machines["implementation"]):
            rows[name] = {"ms": ms.median(), "low": ms.min(), "high": ms.max(), "of": len(ms)}
    return pd.DataFrame.from_dict(rows, orient="index").astype({"of": int}).sort_values("ms")
