"""One observation as a model's inputs, and how long each stage of an inference takes."""

import time
from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor

from kvlab.pi0 import Policy
from kvlab.pi0.cache import LANGUAGE
from kvlab.pi0.model import Embeds
from kvlab.pi0.policy import to_device


class Inputs:
    """One observation as model inputs. Image tokens are computed when first asked for, and timed."""

    def __init__(self, policy: Policy, images, state, tokens: Tensor, clock: "Stopwatch"):
        self.model, self._prompt, self._clock = policy.model, tokens, clock
        self.images = None if images is None else policy.images(images)
        self.state_here = policy.state_here(state)
        self.state = to_device(self.state_here, policy.device)
        self._image_tokens: Tensor | None = None

    def image_tokens(self) -> Tensor:
        if self._image_tokens is None:
            self._clock.lap("gate")  # what came before: preparing the inputs
            self._image_tokens = self.model.embed_images(self.images)
            self._clock.lap("vision")
        return self._image_tokens

    def embeds(self, names: Iterable[str]) -> Embeds:
        """The prefix segments of these names, without padding, ready for `Pi0.prefill`."""
        cameras, parts = self.model.config.cameras, {}
        for name in names:
            if name == LANGUAGE:
                x = self.model.embed_language(self._prompt)
            else:
                x = self.image_tokens()[cameras.index(name)][None]
            parts[name] = (x, None)
        return parts


class Stopwatch:
    """Milliseconds by stage: on a GPU those until it has done what was queued, which nothing waits for before `ms`."""

    def __init__(self, device: torch.device):
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None  # slow to ask for
        self._laps: list[tuple[str, torch.cuda.Event | float]] = [("", self._now())]

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to `stage`."""
        self._laps.append((stage, self._now()))

    def ms(self) -> dict[str, float]:
        """Of every stage."""
        found = {"gate": 0.0, "vision": 0.0, "prefill": 0.0, "denoise": 0.0}
        if self._stream:
            self._laps[-1][1].synchronize()
        for (_, then), (stage, now) in pairwise(self._laps):
            found[stage] += then.elapsed_time(now) if self._stream else (now - then) * 1e3
        return found

    def _now(self) -> torch.cuda.Event | float:
        if not self._stream:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream)
        return event
