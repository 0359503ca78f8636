"""Latency of Pi0 on a GPU: eager, by the engine and, where it is installed, LeRobot's; and what the hardware allows.

Times do not depend on what is seen, so frames, states and, for a preset, weights are random.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import metadata

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from kvlab.bench import latency
from kvlab.bench.latency import STAGES
from kvlab.bench.parity import byte_tokenizer, relative
from kvlab.pi0 import Conventions, Pi0Config, Policy, load, save
from kvlab.pi0.checkpoint import empty
from kvlab.pi0.engine import Engine, accelerate
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.study.origin import origin
from kvlab.study.settings import Setting

SIZE = 256  # pixels along one side of a frame, as LIBERO's published data has them
WARM_UPS = 3
EIGHT = "engine, 8 bits"
PROGRAMS = {"eager": lambda policy: policy, "engine": accelerate, EIGHT: lambda policy: accelerate(policy, eight=True)}
FEWER = (5, 2, 1)  # denoising steps that are measured besides the model's own


def random_policy(config: Pi0Config, device: str = "cuda", dtype: torch.dtype = torch.bfloat16) -> Policy:
    """A policy of that shape whose every parameter is random; its prompts are as many tokens as they have bytes."""
    model = empty(config).to(dtype).to_empty(device=device).eval().requires_grad_(False)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.normal_(std=0.1 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
    widths = {"state": config.state_dim, "action": config.action_dim}
    stats = {
        f"{k}_{what}": np.full(n, what == "std", np.float32) for k, n in widths.items() for what in ("mean", "std")
    }
    return Policy(model, stats, byte_tokenizer(), {"weights": "random"}, Conventions(resize="rounded"))


def measure(
    policy: Policy, settings: Sequence[Setting], runs: int, rounds: int, by: Sequence[str] = ("eager", "engine")
) -> pd.DataFrame:
    """One row per inference: implementation, setting, `MOMENT`, reused, and ms_* by stage (milliseconds).

    `by` names those of PROGRAMS that are measured. In each round every implementation and setting has its turn: an
    episode of one replan that computes the cache, some that warm up, and `runs` that count, each with another
    observation. Similarities that no gate reads are not computed.
    """
    config, rng = policy.config, np.random.default_rng(0)
    seen = [observation(policy, rng) for _ in range(8)]
    turns = {
        (name, str(setting)): setting.on(one, policy.conventions.execute, log_signals=False)
        for name, one in [(name, PROGRAMS[name](policy)) for name in by]
        for setting in settings
    }
    rows = []
    with tqdm(total=rounds * len(turns), desc="measuring", unit="setting") as bar:
        for number in range(rounds):
            for (implementation, setting), acting in turns.items():
                acting.reset(prompt(config), seed=(0,))
                made = [acting.act(*seen[run % len(seen)])[1] for run in range(1 + WARM_UPS + runs)]
                for replan, one in enumerate(made[1 + WARM_UPS :]):
                    row = {
                        "implementation": implementation,
                        "setting": setting,
                        "repeat": number,
                        "episode": 0,
                        "replan": replan,
                    }
                    stages = {f"ms_{stage}": getattr(one, f"ms_{stage}") for stage in STAGES}
                    rows.append(row | {"reused": one.reused} | stages)
                bar.update()
    return pd.DataFrame(rows)


def by_implementation(samples: pd.DataFrame) -> pd.DataFrame:
    """`latency.by_stage` of each implementation: rows are (implementation, setting)."""
    groups = samples.groupby("implementation", sort=False)
    return pd.concat({name: latency.by_stage(rows) for name, rows in groups}, names=["implementation", "setting"])


def new_words_ms(engine: Engine, runs: int = 30) -> float:
    """Median time (ms) of words that are new at a replan, before images that are kept: what a changed prompt costs."""
    c, weight = engine.config, engine.action_out.weight
    sizes = {**dict.fromkeys(c.cameras, c.image_tokens), "language": c.max_tokens}
    fresh = {n: (_random_rows(size, c.prefix.width, weight), None) for n, size in sizes.items()}
    kept = engine.prefill(fresh).take(c.cameras)
    words = [_random_rows(c.max_tokens, c.prefix.width, weight) for _ in range(WARM_UPS + runs)]
    times = [timed(lambda x=x: engine.prefill({"language": (x, None)}, kept), weight.device) for x in words]
    return float(np.median(times[WARM_UPS:]))


def agreement(policy: Policy) -> pd.DataFrame:
    """One row per mode and replan: how far one program's chunk is from another's, over the length of the latter.

    `error`, the engine from eager; `engine_float32`, `eager_float32` and `eight_float32` (the engine in eight bits),
    each from the same weights in float32. The same random inputs for all; every replan but the first reuses.
    """
    config, rng, rows = policy.config, np.random.default_rng(5), []
    exact = replace(policy, model=deepcopy(policy.model).float())
    programs = accelerate(policy), policy, accelerate(policy, eight=True), exact
    seen = [observation(policy, rng) for _ in range(3)]
    modes = dict.fromkeys([*(setting.mode for setting in of_both(config)), "layer_wise:splice", "text_fixed:splice"])
    for mode in modes:
        chunks = []
        for one in programs:
            acting = CachedPolicy(one, parse_mode(mode), parse_gate(latency.OPEN), log_signals=False)
            acting.reset(prompt(config), seed=(3,))
            chunks.append([acting.act(*observation)[0] for observation in seen])
        for replan, (*others, float32) in enumerate(zip(*chunks, strict=True)):
            names = ("engine_float32", "eager_float32", "eight_float32")
            errors = {name: relative(one, float32) for name, one in zip(names, others, strict=True)}
            rows.append({"mode": mode, "replan": replan, "error": relative(*others[:2]), **errors})
    return pd.DataFrame(rows)


def of_both(config: Pi0Config) -> tuple[Setting, ...]:
    """`latency.settings` that eager and engine both run: no single tokens."""
    return tuple(setting for setting in latency.settings(config) if not setting.mode.startswith("tokens"))


def at_fewer_steps(config: Pi0Config) -> tuple[Setting, ...]:
    """`of_both` at each of FEWER, where the setting can be: 1 step has no earlier end points to compare."""
    ways = ((setting, steps) for steps in FEWER for setting in of_both(config))
    return tuple(replace(s, denoising_steps=steps) for s, steps in ways if steps > 1 or "settled" not in s.gate)


def by_steps(samples: pd.DataFrame) -> pd.DataFrame:
    """The engine's median time (ms) of each setting, a row, at each number of denoising steps, a column; 0 stands for
    the model's own.
    """
    mine = samples[samples["implementation"] == "engine"]
    told = mine["setting"].str.extract(r"^(?P<setting>.*?)(?: steps=(?P<steps>\d+))?$").fillna({"steps": "0"})
    keys = [told["setting"], told["steps"].astype(int)]
    return mine.groupby(keys, sort=False)["ms_total"].median().unstack()


def floors(config: Pi0Config, bytes_per_ms: float, operations_per_ms: float) -> pd.DataFrame:
    """What each stage cannot be faster than: operations, bytes of weights, and the longer of both times (ms).

    Counted are the products with weights and the attention's two products; weights are of 2 bytes and read once, by the
    denoising once a step.
    """
    vision, rows = config.vision, len(config.cameras) * config.image_tokens
    patch = 3 * vision.patch_size**2 * vision.width
    block = 4 * vision.width**2 + 2 * vision.width * vision.mlp_dim
    seen = 2 * rows * config.image_tokens * vision.width * vision.depth
    images = patch + block * vision.depth + vision.width * config.prefix.width
    prefix, tokens = _layer(config.prefix), rows + config.max_tokens
    expert, steps, every = _layer(config.expert), config.denoising_steps, rows + config.max_tokens + 1 + config.chunk
    prefill = prefix["all"] * (config.prefix.depth - 1) + prefix["qkv"]
    denoise = expert["all"] * config.expert.depth * steps
    heads = 2 * config.prefix.num_heads * config.prefix.head_dim
    stages = {
        "vision": (2 * (images * rows + seen), 2 * images),
        "prefill": (2 * (prefill * tokens + heads * tokens**2 * (config.prefix.depth - 1)), 2 * prefill),
        "denoise": (2 * (denoise + heads * every * config.expert.depth * steps) * config.chunk, 2 * denoise),
    }
    table = pd.DataFrame(stages, index=["operations", "bytes"]).T.astype(float)
    table["ms_operations"], table["ms_bytes"] = table.operations / operations_per_ms, table.bytes / bytes_per_ms
    return table.assign(floor_ms=table[["ms_operations", "ms_bytes"]].max(axis=1))


def _layer(c) -> dict[str, int]:
    """Numbers of a Gemma layer's weights."""
    qkv = c.width * (c.num_heads + 2 * c.num_kv_heads) * c.head_dim
    return {"qkv": qkv, "all": qkv + c.num_heads * c.head_dim * c.width + 3 * c.width * c.mlp_dim}


def ceilings(size: int = 8192, numbers: int = 2**30) -> dict[str, float]:
    """Measured on this GPU: bytes per ms of a large copy (read and written), operations per ms of a bf16 product."""
    a, source = (torch.randn(n, device="cuda", dtype=torch.bfloat16) for n in (size**2, numbers))
    a, target = a.view(size, size), torch.empty_like(source)
    device = a.device
    copy = float(np.median([timed(lambda: target.copy_(source), device) for _ in range(20)][WARM_UPS:]))
    product = float(np.median([timed(lambda: a @ a, device) for _ in range(20)][WARM_UPS:]))
    return {"bytes_per_ms": 4 * numbers / copy, "operations_per_ms": 2 * size**3 / product}


def load_seconds(policy: Policy) -> float:
    """Seconds that it takes to load these weights from a local file onto the GPU. The file was just written."""
    with tempfile.TemporaryDirectory() as folder:
        save(replace(policy, conventions=Conventions()), folder)
        start = time.perf_counter()
        load(folder, "cuda", torch.bfloat16)
        torch.cuda.synchronize()
        return time.perf_counter() - start


def machine() -> dict[str, object]:
    """What a time on a GPU depends on besides the code."""
    return {
        **asdict(origin(device="cuda")),
        "triton": metadata.version("triton"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def report(
    policy: Policy, settings: Sequence[Setting], runs: int, rounds: int
) -> tuple[pd.DataFrame, dict[str, object]]:
    """The rows of `measure`, and what stands beside them: ceilings, floors, memory, loading."""
    facts: dict[str, object] = machine()
    torch.cuda.reset_peak_memory_stats()
    engine = accelerate(policy).model
    facts["new_words_ms"] = new_words_ms(engine)
    del engine
    rows = measure(policy, settings, runs, rounds)
    facts["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    facts["load_seconds"] = load_seconds(policy)
    facts |= ceilings()
    table = floors(policy.config, facts["bytes_per_ms"], facts["operations_per_ms"])
    facts["floors"] = table.to_dict(orient="index")
    return rows, facts


def prompt(config: Pi0Config) -> str:
    """An instruction of as many single-byte tokens as the model takes, with the one that begins it."""
    return ("pick up the black bowl and place it on the plate, " * 4)[: config.max_tokens - 1]


def observation(policy: Policy, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Random frames and a random state."""
    frames = {camera: rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for camera in policy.config.cameras}
    return frames, rng.uniform(-1, 1, policy.state_dim).astype(np.float32)


def _random_rows(rows: int, width: int, like: Tensor) -> Float[Tensor, "1 rows width"]:
    return torch.randn(1, rows, width, device=like.device, dtype=like.dtype)


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Milliseconds until all that `run` queued is done."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    run()
    wait()
    return (time.perf_counter() - start) * 1e3
