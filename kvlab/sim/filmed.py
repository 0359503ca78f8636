"""An episode watched: a picture of the scene at every control step, which changes nothing in it."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from kvlab.sim.env import CAMERAS, LiberoEnv
from kvlab.sim.render import Renderer

Picture = UInt8[np.ndarray, "side side 3"]


class Filmed:
    """An environment that gives `keep` a picture of the start of an episode and one after each control step.

    The camera is the policy's `agentview`; a renderer of its own draws pictures of `side` pixels.
    """

    def __init__(self, env: LiberoEnv, keep: Callable[[Picture], object], side: int):
        self._env, self._keep = env, keep
        self._renderer = Renderer(env.model, env.render, side)
        self._camera = env.model.camera(CAMERAS["agentview"]).id

    def __getattr__(self, name: str):
        return getattr(self._env, name)

    def reset(self, initial_state: int, seed: int) -> None:
        self._env.reset(initial_state, seed)
        self._draw()

    def step(self, action: Float[np.ndarray, "7"]) -> bool:
        done = self._env.step(action)
        self._draw()
        return done

    def close(self) -> None:
        self._renderer.close()
        self._env.close()

    def _draw(self) -> None:
        self._keep(*self._renderer.draw(self._env.data, [self._camera]))


def into(folder: Path) -> Callable[[Picture], object]:
    """What keeps pictures as JPEG files of `folder`, in order: 0000.jpg is the start."""
    from PIL import Image  # which only a worker that films needs

    number = count()
    return lambda picture: Image.fromarray(picture).save(folder / f"{next(number):04d}.jpg", quality=80)
