"""The drawing of real time: what a robot executes at each control step, by the loop of the episodes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from kvlab.book import plots
from kvlab.reuse import CachedPolicy
from kvlab.sim.env import Observation
from kvlab.sim.suites import task
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting
from kvlab.study.study import Study

_MOST = 1000.0  # chunks: actions are at most 1, and the first number of each says of which chunk it is


@dataclass(frozen=True)
class Course:
    """`chunks`: by control step the number, from 1, of the chunk that is executed, 0 where the robot stands still;
    `replans`: the control step of each look, and its delay."""

    chunks: list[int]
    replans: list[tuple[int, int]]

    @property
    def still(self) -> float:
        """The share of control steps without an action, after the first chunk has come."""
        later = self.chunks[self.replans[0][1] :]
        return later.count(0) / len(later)


def course(study: Study, setting: Setting, steps: int) -> Course:
    """What `rollout` does in the study's real time, with its policy in this setting, where nothing is to be seen."""
    policy = setting.on(study.policy, study.protocol.replan_every)
    env, delays = _Nothing(study, steps), study.protocol.delays(setting)
    _, replans, _ = rollout(env, _Numbered(policy), 0, 0, delays=delays)
    return Course(env.chunks, [(replan["step"], replan["delay"]) for replan in replans])


class _Nothing:
    """In place of the simulator: black frames, a robot that is nowhere, and a log. It ends after so many steps."""

    def __init__(self, study: Study, steps: int):
        self.task, self.chunks, self._steps, side = task(study.protocol.suite, 0), [], steps, study.protocol.size
        black = {camera: np.zeros((side, side, 3), np.uint8) for camera in study.policy.config.cameras}
        self.observe = lambda: Observation(black, np.zeros(8, np.float32))

    def reset(self, initial_state: int, seed: int) -> None:
        self.chunks.clear()

    def step(self, action: np.ndarray) -> bool:
        self.chunks.append(round(_MOST * float(action[0])))
        return len(self.chunks) == self._steps


class _Numbered:
    """A policy whose every action is the number of its chunk."""

    def __init__(self, policy: CachedPolicy):
        self._policy, self.reset, self.executes, self._chunks = policy, policy.reset, policy.executes, 0

    def act(self, *seen) -> tuple[np.ndarray, SimpleNamespace]:
        chunk, replan = self._policy.act(*seen)
        self._chunks += replan.denoised > 0
        return np.full_like(chunk, self._chunks / _MOST), replan


def draw(
    courses: Mapping[Setting, Course],
    looks: Mapping[Setting, dict[str, str]],
    label: Callable[[Setting], str],
    steps: int,
) -> Figure:
    """A row a setting, a square a control step: filled while a chunk is executed, every second one lighter.

    A dot is where the policy looks, and a line above the squares how long it takes to answer.
    """
    fig, ax = plots.page(height=0.72 * len(courses) + 0.9)
    for y, (setting, course) in enumerate(courses.items()):
        colour = looks[setting]["color"]
        for x, chunk in enumerate(course.chunks[:steps]):
            fill = {"facecolor": colour, "alpha": 1 if chunk % 2 else 0.45} if chunk else {"fill": False}
            ax.add_patch(Rectangle((x + 0.1, y - 0.2), 0.8, 0.4, edgecolor="none" if chunk else plots.GREY, **fill))
        for step, delay in course.replans:
            if step < steps:
                ax.plot([step, min(step + delay, steps)], [y - 0.33] * 2, color=plots.GREY, linewidth=1)
                ax.plot(step, y - 0.33, "o", color=plots.GREY, markersize=3)
        ax.text(0, y - 0.45, label(setting), va="bottom")
    ax.set(xlim=(-0.5, steps), ylim=(len(courses) - 0.6, -0.85), xlabel="control steps of an episode", yticks=[])
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    dark, light = plots.look("none")["color"], {"alpha": 0.45, "facecolor": plots.look("none")["color"]}
    handles = [
        Patch(facecolor=dark, label="a chunk"),
        Patch(label="the next", **light),
        Patch(fill=False, edgecolor=plots.GREY, label="stands still"),
        Line2D([0], [0], marker="o", markersize=3, linewidth=1, color=plots.GREY, label="looks, computes"),
    ]
    fig.legend(handles=handles, loc="outside lower left", ncols=2)
    return fig
