"""`CachedPolicy`: Pi0 in closed loop with a mode and a gate, logging every replan."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from kvlab.pi0 import KVCache, Policy
from kvlab.pi0.cache import LANGUAGE, STATE
from kvlab.pi0.policy import to_device
from kvlab.reuse.execution import Execution, end_point_spread
from kvlab.reuse.gates import DISTANCES, SIMILARITIES, Gate
from kvlab.reuse.inputs import Inputs, Stopwatch
from kvlab.reuse.modes import CHUNKS, Mode
from kvlab.reuse.phase import SAMPLES, Phase
from kvlab.reuse.plan import Plan
from kvlab.reuse.signals import distance, similarities, thumbnails
from kvlab.reuse.tokens import Tokens


@dataclass(frozen=True)
class Replan:
    """The record of one inference. Similarities are cosines, NaN where there was nothing to compare; times in ms."""

    reused: bool
    age: int  # replans since the cache was computed; 0 if it was computed now
    vision_anchor: float
    vision_previous: float
    pixels_anchor: float
    pixels_previous: float
    state_anchor: float
    state_previous: float
    gripper: float  # these three: see `kvlab.reuse.phase`
    curvature: float
    spread: float  # NaN unless the gate reads it
    distance: float  # of the states, this one's and the anchor's (`kvlab.reuse.signals`)
    settled: float  # of the next actions of the chunk before (`kvlab.reuse.plan`); these two are 0 or more
    verify: float  # NaN unless the gate reads it
    ms_gate: float
    ms_vision: float
    ms_prefill: float  # prefix and state token
    ms_denoise: float
    ms_total: float
    bits: int  # CRC-32 of the chunk's float32 numbers: equal for equal chunks
    kept_tokens: int  # image tokens that were reused one by one
    denoised: int  # denoising steps taken, 0 where a chunk is kept
    executed: int  # actions to execute before the next replan


class CachedPolicy:
    """A policy that may answer from the cache of an earlier replan.

    `steps` are those of denoising, by default the model's; `execute` says how many actions of a chunk are executed, by
    default all.
    `log_signals=False` computes only the similarities that the gate reads, as a deployment would; the others are NaN.
    `watch(step, actions)` sees each denoising step of an answer.
    No state outlives `reset`. Raises ValueError where the model has nothing of what the mode or the gate names, or
    cannot take so many steps or execute so many actions.
    """

    def __init__(
        self,
        policy: Policy,
        mode: Mode,
        gate: Gate,
        log_signals: bool = True,
        watch: Callable[[int, Tensor], None] | None = None,
        steps: int | None = None,
        execute: Execution | None = None,
    ):
        mode.require_fits(policy)
        if steps is not None and steps < 1:
            raise ValueError(f"a chunk takes at least 1 denoising step, got {steps}")
        self._steps = steps or policy.config.denoising_steps
        execute = execute or Execution(policy.config.chunk)
        execute.require_fits(policy.config.chunk, self._steps)
        self.policy, self.mode, self.gate, self.execute, self._watch = policy, mode, gate, execute, watch
        self._require_signals()
        self._similarities = [s for s in SIMILARITIES if log_signals or s in gate.reads]
        self._instruction: str | None = None

    def _require_signals(self) -> None:
        """ValueError where there is nothing to compute a signal from that the gate reads."""
        policy, gate = self.policy, self.gate
        if policy.config.pi05 and not policy.prompt_has_state and any(s.startswith("state") for s in gate.reads):
            raise ValueError(
                f"the gate '{gate}' compares the state, and this Pi0.5 has none, neither as a token nor in its prompt: "
                "compare vision or pixels"
            )
        if "verify" in gate.reads and self.mode.name not in ("full", "prefix", "chunk"):
            raise ValueError(
                f"the gate '{gate}' asks the expert with the prefix that was kept, and '{self.mode}' keeps no whole "
                "prefix: use it with chunk, prefix or full"
            )
        if "verify" in gate.reads and any(policy.conventions.relative):
            raise ValueError(
                f"the gate '{gate}' compares actions of two replans, and this model's are relative to the state of each"
            )
        if "settled" in gate.reads and self._steps < 2:
            raise ValueError(f"the gate '{gate}' compares the end points of denoising steps, and 1 step has only one")

    def reset(self, instruction: str, seed: Iterable[int]) -> None:
        """Begin an episode. The n-th replan's noise is a function of `seed` and n alone."""
        self._instruction = instruction
        self._tokens = None if self.policy.prompt_has_state else self.policy.tokens(instruction)
        self._seed, self._replans, self._age = tuple(seed), 0, 0
        self._anchor: KVCache | None = None  # the last cache that was computed as a whole
        self._first: KVCache | None = None  # that of the episode's first replan
        self._plan: Plan | None = None  # the last computed chunk
        self._tokens_seen = Tokens(self.policy.model, self.mode.selection) if self.mode.selection else None
        self._kept_tokens = 0
        self._phase = Phase()
        self._seen_anchor: dict[str, Tensor] | None = None
        self._seen_previous: dict[str, Tensor] | None = None

    @torch.inference_mode()
    def act(
        self,
        images: Mapping[str, UInt8[np.ndarray, "h w 3"]] | None,
        state: Float32[np.ndarray, " state"],
        elapsed: int | None = None,
    ) -> tuple[Float32[np.ndarray, "actions action"], Replan]:
        """One replan: actions in the environment's units, and its record. RuntimeError before the first `reset`.

        `images` are frames in RGB of any size under the names of `policy.config.cameras`; LIBERO's are agentview and
        wrist, upright for kvlab's checkpoints, turned by 180 degrees for those of openpi and LeRobot. `state` is as the
        policy was trained on it: LIBERO's is the hand's position (3, m), its orientation as axis-angle (3, rad) and the
        finger joints (2, m). Its first three numbers are taken for the hand's position where the gate asks for the
        path. Where no images are given (None), their tokens are left out of attention. `elapsed` says how many control
        steps were executed since the last replan, by default as many as its record said. Actions that a model predicts
        relative to the state are relative to this one, whatever is reused; of a kept chunk, what is left is returned,
        or all where it is repeated.
        """
        if self._instruction is None:
            raise RuntimeError("call reset(instruction, seed) before the first act()")
        clock = Stopwatch(self.policy.device)
        tokens = self.policy.tokens(self._instruction, state) if self._tokens is None else self._tokens
        inputs = Inputs(self.policy, images, state, tokens, clock)
        if self._plan is not None:
            passed = self._plan.position + (self.executes() if elapsed is None else elapsed)
            self._plan = replace(self._plan, position=min(passed, len(self._plan.actions)))
        noise = self._noise()  # drawn while a GPU shrinks the frames
        now = self._look(inputs)
        self._phase.see(state[:3])
        signals = similarities(self._similarities, now, self._seen_anchor, self._seen_previous) | self._phase.values()
        signals |= self._distances(inputs)
        reuse = self._anchor is not None and self.gate.opens(signals | self._count()) and self._can_reuse()
        clock.lap("gate")
        if not (keep := reuse and self.mode.name in CHUNKS):
            self._compute(inputs, noise, reuse, state, clock)
        elif self.mode.name == "repeat":
            self._plan = replace(self._plan, position=0)
        chunk = self._plan.left()
        self._phase.plan(chunk)
        clock.lap("denoise")
        self._remember(now, reuse)
        return chunk, self._record(reuse, signals, clock, 0 if keep else self._steps)

    def executes(self, skipped: int = 0) -> int:
        """How many of the last answer's actions to execute, counted from its action number `skipped`."""
        return self.execute.length(self._plan.left_spreads()[skipped:])

    def _count(self) -> dict[str, int]:
        """What a gate may count: how old the cache would be, and the episode's replans before this one."""
        return {"age": self._age + 1, "replan": self._replans}

    def _can_reuse(self) -> bool:
        if self.mode.name == "chunk":
            return self.execute.covered(self._plan.left_spreads())
        return self.mode.name != "none"

    def _compute(self, inputs: Inputs, noise: Tensor, reuse: bool, state: np.ndarray, clock: Stopwatch) -> None:
        """A new plan, and where nothing of the old cache is reused, the anchor of later ones."""
        cache = self._cache(inputs, reuse)
        clock.lap("prefill")
        trail = [noise]

        def watch(step: int, actions: Tensor) -> None:
            trail.append(actions)
            if self._watch:
                self._watch(step, actions)

        scaled = self._denoise(cache, noise, watch)
        here = torch.cat(trail).cpu()  # a GPU is waited for once
        spreads = end_point_spread(here, self.policy.action_dim)
        self._plan = Plan(self.policy.actions(here[-1:], state), scaled, spreads)
        if not reuse:
            self._anchor = cache
            if "spread" in self.gate.phases:
                self._phase.sample(self._samples(cache))
        self._first = self._first or cache

    def _look(self, inputs: Inputs) -> dict[str, Tensor]:
        """What there is to compare at this moment, for the similarities that are asked for."""
        looks = {
            "vision": inputs.image_tokens,
            "pixels": lambda: thumbnails(inputs.images),
            "state": lambda: inputs.state_here,
        }
        names = {s.split("_")[0] for s in self._similarities} | {"state"}
        return {name: looks[name]() for name in names if name == "state" or inputs.images is not None}

    def _distances(self, inputs: Inputs) -> dict[str, float]:
        """All of DISTANCES; to verify costs a call of the expert, so only where the gate reads it."""
        found = dict.fromkeys(DISTANCES, float("nan"))
        if self._plan is None:
            return found
        found["distance"] = distance(inputs.state_here, self._seen_anchor["state"])
        coming = self.execute.length(self._plan.left_spreads())
        found["settled"] = self._plan.settled(coming)
        if "verify" in self.gate.reads:
            cache = self.policy.model.encode_state(inputs.state, self._anchor.prefix)
            found["verify"] = self._plan.verify(self.policy.model, cache, self._noise(1, 2), coming)
        return found

    def _cache(self, inputs: Inputs, reuse: bool) -> KVCache:
        """The cache to denoise with: what the mode keeps, and the rest computed from this moment's inputs."""
        model, mode = self.policy.model, self.mode
        kept = mode.kept(model.config, reuse, self._anchor, self._first)
        cameras = () if inputs.images is None else model.config.cameras
        prefix_names, kept_prefix = (*cameras, LANGUAGE), kept.prefix
        layers = mode.layer_range(model.config.prefix.depth)
        self._kept_tokens = 0
        if self._tokens_seen and cameras:
            rng = np.random.default_rng([*self._seed, self._replans, 3])
            prefix, self._kept_tokens = self._tokens_seen.prefill(
                inputs.embeds(prefix_names), inputs.images, reuse, rng
            )
        elif mode.splice:
            prefix = model.prefill(inputs.embeds(prefix_names)).splice(kept_prefix, kept_prefix.names, layers)
        elif layers.start and kept_prefix.names:
            prefix = model.prefill(inputs.embeds(prefix_names), depth=layers.start).extend(kept_prefix)
        elif fresh := [n for n in prefix_names if n not in kept_prefix.names]:
            prefix = model.prefill(inputs.embeds(fresh), kept=kept_prefix)
        else:
            prefix = kept_prefix
        if STATE in kept.names:
            return prefix.join(kept.take([STATE]), model.order)
        return model.encode_state(inputs.state, prefix)

    def _denoise(self, cache: KVCache, noise: Tensor, watch: Callable[[int, Tensor], None] | None = None) -> Tensor:
        return self.policy.model.denoise(cache, noise, watch, self._steps)

    def _samples(self, cache: KVCache) -> Float[np.ndarray, "samples chunk action"]:
        """Further chunks (normalised) from this cache, for other noise than the one that is answered with."""
        chunks = self._denoise(cache.repeat(SAMPLES), self._noise(SAMPLES, 1))
        return chunks[..., : self.policy.action_dim].float().cpu().numpy()

    def _noise(self, chunks: int = 1, *stream: int) -> Tensor:
        config = self.policy.config
        rng = np.random.default_rng([*self._seed, self._replans, *stream])
        noise = rng.standard_normal((chunks, config.chunk, config.action_dim), dtype=np.float32)
        return to_device(torch.from_numpy(noise).to(self.policy.model.action_out.weight.dtype), self.policy.device)

    def _remember(self, now: dict[str, Tensor], reuse: bool) -> None:
        self._age = self._age + 1 if reuse else 0
        if not reuse:
            self._seen_anchor = now
        self._seen_previous = now
        self._replans += 1

    def _record(self, reuse: bool, signals: dict[str, float], clock: Stopwatch, denoised: int) -> Replan:
        unread, chunk, ms = dict.fromkeys(SIMILARITIES, float("nan")), self._plan.left(), clock.ms()
        return Replan(
            reused=reuse,
            age=self._age,
            **(unread | signals),
            **{f"ms_{stage}": of_stage for stage, of_stage in ms.items()},
            ms_total=sum(ms.values()),
            bits=crc32(np.ascontiguousarray(chunk, np.float32)),
            kept_tokens=self._kept_tokens,
            denoised=denoised,
            executed=self.executes(),
        )
