"""`CachedPolicy`: Pi0 in closed loop with a mode and a gate, logging every replan."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from kvlab.pi0 import KVCache, Policy
from kvlab.pi0.cache import LANGUAGE, STATE
from kvlab.reuse.execution import Execution
from kvlab.reuse.gates import SIMILARITIES, Gate
from kvlab.reuse.modes import Mode
from kvlab.reuse.phase import SAMPLES, Phase
from kvlab.reuse.signals import similarities, thumbnails


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
    ms_gate: float
    ms_vision: float
    ms_prefill: float  # prefix and state token
    ms_denoise: float
    ms_total: float
    action_norm: float  # mean length of the chunk's actions
    first_action: tuple[float, ...]
    denoised: int  # denoising steps taken
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
        execute = execute or Execution(policy.config.chunk)
        execute.require_fits(policy.config.chunk)
        if steps is not None and steps < 1:
            raise ValueError(f"a chunk takes at least 1 denoising step, got {steps}")
        if policy.config.pi05 and not policy.prompt_has_state and any(s.startswith("state") for s in gate.reads):
            raise ValueError(
                f"the gate '{gate}' compares the state, and this Pi0.5 has none, neither as a token nor in its prompt: "
                "compare vision or pixels"
            )
        self.policy, self.mode, self.gate, self.execute, self._watch = policy, mode, gate, execute, watch
        self._steps = steps or policy.config.denoising_steps
        self._similarities = SIMILARITIES if log_signals else gate.reads
        self._instruction: str | None = None

    def reset(self, instruction: str, seed: Iterable[int]) -> None:
        """Begin an episode. The n-th replan's noise is a function of `seed` and n alone."""
        self._instruction = instruction
        self._tokens = None if self.policy.prompt_has_state else self.policy.tokens(instruction)
        self._seed, self._replans, self._age = tuple(seed), 0, 0
        self._anchor: KVCache | None = None  # the last cache that was computed as a whole
        self._first: KVCache | None = None  # that of the episode's first replan
        self._phase = Phase()
        self._seen_anchor: dict[str, Tensor] | None = None
        self._seen_previous: dict[str, Tensor] | None = None

    @torch.inference_mode()
    def act(
        self, images: Mapping[str, UInt8[np.ndarray, "h w 3"]], state: Float32[np.ndarray, " state"]
    ) -> tuple[Float32[np.ndarray, "chunk action"], Replan]:
        """One replan: actions in the environment's units, and its record. RuntimeError before the first `reset`.

        Actions that a model predicts relative to the state are relative to this one, whatever is reused.
        """
        if self._instruction is None:
            raise RuntimeError("call reset(instruction, seed) before the first act()")
        clock = _Clock(self.policy.device)
        tokens = self.policy.tokens(self._instruction, state) if self._tokens is None else self._tokens
        inputs = _Inputs(self.policy, images, state, tokens, clock)
        now = self._look(inputs)
        signals = similarities(self._similarities, now, self._seen_anchor, self._seen_previous)
        self._phase.see(state[:3])
        phases = self._phase.values()
        reuse = self.mode.name != "none" and self._anchor is not None
        reuse = reuse and self.gate.opens(signals | phases | {"age": self._age + 1})
        clock.lap("gate")
        cache = self._cache(inputs, reuse)
        clock.lap("prefill")
        chunk = self.policy.actions(self._denoise(cache, self._noise(), self._watch), state)
        self._phase.plan(chunk)
        if "spread" in self.gate.phases and not reuse:
            self._phase.sample(self._samples(cache))
        clock.lap("denoise")
        self._remember(cache, now, reuse)
        return chunk, self._record(reuse, signals | phases, clock, chunk)

    def _look(self, inputs: "_Inputs") -> dict[str, Tensor]:
        """What there is to compare at this moment, for the similarities that are asked for."""
        looks = {
            "vision": inputs.image_tokens,
            "pixels": lambda: thumbnails(inputs.images),
            "state": lambda: inputs.state,
        }
        return {name: looks[name]() for name in {s.split("_")[0] for s in self._similarities}}

    def _cache(self, inputs: "_Inputs", reuse: bool) -> KVCache:
        """The cache to denoise with: what the mode keeps, and the rest computed from this moment's inputs."""
        model, mode = self.policy.model, self.mode
        kept = mode.kept(model.config, reuse, self._anchor, self._first)
        prefix_names, kept_prefix = (*model.config.cameras, LANGUAGE), kept.prefix
        layers = mode.layer_range(model.config.prefix.depth)
        if mode.splice:
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
        return torch.from_numpy(noise).to(self.policy.device, self.policy.model.action_out.weight.dtype)

    def _remember(self, cache: KVCache, now: dict[str, Tensor], reuse: bool) -> None:
        self._age = self._age + 1 if reuse else 0
        if not reuse:
            self._anchor, self._seen_anchor = cache, now
        self._first = self._first or cache
        self._seen_previous = now
        self._replans += 1

    def _record(self, reuse: bool, signals: dict[str, float], clock: "_Clock", chunk: np.ndarray) -> Replan:
        unread = dict.fromkeys(SIMILARITIES, float("nan"))
        return Replan(
            reused=reuse,
            age=self._age,
            **(unread | signals),
            **{f"ms_{stage}": clock.ms[stage] for stage in ("gate", "vision", "prefill", "denoise")},
            ms_total=sum(clock.ms.values()),
            action_norm=float(np.linalg.norm(chunk, axis=1).mean()),
            first_action=tuple(float(a) for a in chunk[0]),
            denoised=self._steps,
            executed=self.execute.count,
        )


class _Inputs:
    """One observation as model inputs. Image tokens are computed when first asked for, and timed."""

    def __init__(self, policy: Policy, images, state, tokens: Tensor, clock: "_Clock"):
        self.model, self._prompt, self._clock = policy.model, tokens, clock
        self.images, self.state = policy.images(images), policy.state(state)
        self._image_tokens: Tensor | None = None

    def image_tokens(self) -> Tensor:
        if self._image_tokens is None:
            self._clock.lap("gate")  # what came before: preparing the inputs
            self._image_tokens = self.model.embed_images(self.images)
            self._clock.lap("vision")
        return self._image_tokens

    def embeds(self, names: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
        """The prefix segments of these names, without padding, ready for `Pi0.prefill`."""
        cameras, parts = self.model.config.cameras, {}
        for name in names:
            if name == LANGUAGE:
                x = self.model.embed_language(self._prompt)
            else:
                x = self.image_tokens()[cameras.index(name)][None]
            parts[name] = (x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))
        return parts


class _Clock:
    """Milliseconds by stage; work queued on a GPU is waited for, so that it counts where it was asked for."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == "cuda"
        self.ms = {"gate": 0.0, "vision": 0.0, "prefill": 0.0, "denoise": 0.0}
        self._then = self._now()

    def _now(self) -> float:
        if self._cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to `stage`."""
        now = self._now()
        self.ms[stage] += (now - self._then) * 1e3
        self._then = now
