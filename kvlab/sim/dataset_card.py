"""The dataset card (README.md) of exported demonstrations: what a reader must know before training on them."""

from kvlab.sim.demos import HELD_OUT
from kvlab.sim.published import RENDER, SIZE

CARD = """---
task_categories:
- robotics
tags:
- LeRobot
- libero
configs:
- config_name: default
  data_files: data/*/*.parquet
---

# LIBERO, demonstrated by the scripted experts of kvlab

{episodes} episodes, {frames} control steps at {fps} Hz, of {suites}; LeRobot format v3.0. Made by `kvlab demos`,
written by `kvlab export`.

- Frames (`observation.images.image`: agentview, `observation.images.image2`: wrist): {size} x {size} pixels, drawn in
  kvlab's render profile `{render}`. Published LIBERO data are {stock_size} x {stock_size} pixels in the profile
  `{stock}`{another}. They are turned by 180 degrees from the raw picture, as LeRobot's `LiberoProcessorStep` and
  openpi's evaluation turn them.
- `observation.state`: end effector position (3, m), orientation as axis-angle (3, rad, the angle in [0, 2 pi] as
  robosuite gives it), finger joint positions (2, m).
- `action`: translation (3), rotation (3), gripper (1 closes, -1 opens), in [-1, 1], relative to the pose of the moment.
  It is what the expert would do; what was executed had noise added, so a step need not lead where its action points.
- Every episode succeeds. Initial states {first} to {last} of each task are held out, for evaluation. `meta/episodes`
  tells what an episode began from: `suite`, `task_id`, `initial_state` and `seed`, which also decide whether objects
  were moved a little or dropped before it began.
"""


def card(episodes: list[dict], render: str, size: int, fps: int) -> str:
    """The card of a dataset with these rows of `meta/episodes`, drawn in the profile `render` with `size` pixels."""
    return CARD.format(
        episodes=len(episodes),
        frames=episodes[-1]["dataset_to_index"],
        fps=fps,
        suites=" and ".join(sorted({f"`{row['suite']}`" for row in episodes})),
        size=size,
        render=render,
        stock=RENDER,
        stock_size=SIZE,
        another=", as these are" if (render, size) == (RENDER, SIZE) else ": these look different",
        first=HELD_OUT[0],
        last=HELD_OUT[-1],
    )
