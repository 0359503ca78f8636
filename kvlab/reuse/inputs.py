"""One observation as a model's inputs, and how long each stage of an inference takes."""

import time
from collections.abc import Iterable

import torch
from torch import Tensor

from kvlab.pi0 import Policy
from kvlab.pi0.cache import LANGUAGE
from kvlab.pi0.model import Embeds


class Inputs:
    """One observation as model inputs. Image tokens are computed when first asked for, and timed."""

    def __init__(self, policy: Policy, images, state, tokens: Tensor, clock: "Stopwatch"):
        self.model, self._prompt, self._clock = policy.model, tokens, clock
        self.images, self.state = None if images is None else policy.images(images), policy.state(state)
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
