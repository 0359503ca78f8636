"""Recorded episodes run again and filmed, with the gate's decisions drawn in.

`python -m kvlab.book.videos` writes the book's films to book/_static/videos.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import torch
from jaxtyping import UInt8
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from kvlab.book.plots import look
from kvlab.evidence.rows import of_setting
from kvlab.paths import BOOK, DATA
from kvlab.pi0 import load
from kvlab.reuse import CachedPolicy, parse_gate
from kvlab.sim.env import LiberoEnv
from kvlab.sim.filmed import Filmed
from kvlab.sim.suites import STEP_LIMITS, task
from kvlab.study.protocol import Protocol
from kvlab.study.records import EPISODE, ORIGIN
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting
from kvlab.study.study import Study

FOLDER = BOOK / "_static" / "videos"
FROM_PAGE = "../_static/videos"  # as a page of book/ finds it once published
CHECKPOINT = DATA / "checkpoints" / "mini_spatial"
PROTOCOL = Protocol()
GATE = "vision >= 0.945"
# The control never failed, so its failure is that of the control whose frames are black.
SHOWN = (
    (Setting("none"), True),
    (Setting("none", seeing="black"), False),
    (Setting("full", GATE), True),
    (Setting("full", GATE), False),
    (Setting("vision_only:skip", GATE), True),
    (Setting("vision_only:skip", GATE), False),
)
RATE = 20  # frames a second: one for each control step, so that a film runs at the simulation's own speed
SIDE, STRIP = 480, 128  # pixels: the picture, and the decisions below it
LEAST = 0.8  # where the scale of similarities begins
COMPUTED, INK, PAPER = look("synchronized")["color"], "#000000", "#FFFFFF"


@dataclass(frozen=True)
class Film:
    """A recorded episode that is shown: its setting and its row, replans inside."""

    setting: Setting
    row: dict

    @property
    def name(self) -> str:
        """Of its files: `full_failure`, `none_black_failure`."""
        mode, _, _ = self.setting.mode.partition(":")
        seen = "" if self.setting.seeing == "live" else f"_{self.setting.seeing}"
        return f"{mode}{seen}_{'success' if self.row['success'] else 'failure'}"

    @property
    def frames(self) -> int:
        """One before each control step and one after the last."""
        return self.row["steps"] + 1

    @property
    def oldest(self) -> int:
        """The greatest age of a cache that was used, in replans."""
        return max(replan["age"] for replan in self.row["replan_rows"])


def films(folder: Path = DATA / "runs", shown: Sequence[tuple[Setting, bool]] = SHOWN) -> list[Film]:
    """For each setting and outcome the first episode, in a study's order, that ended so on the control's machine.

    Other processors round differently, and an episode run again there may end otherwise. ValueError where none did.
    """
    settings = tuple(dict.fromkeys([Setting("none"), *(setting for setting, _ in shown)]))
    recorded = Study(CHECKPOINT, settings, 100, PROTOCOL, folder=folder).recorded()
    machine = of_setting(recorded.episodes, Setting("none"))[ORIGIN].iloc[0]
    chosen = []
    for setting, success in shown:
        rows = of_setting(recorded.episodes, setting)
        rows = rows[(rows[ORIGIN] == machine).all(axis=1) & (rows["success"] == success)]
        if rows.empty:
            ended = "succeeded" if success else "failed"
            raise ValueError(f"no episode of `{setting}` {ended} on {', '.join(machine)}")
        row = rows.iloc[0]
        replans = of_setting(recorded.replans, setting)
        replans = replans[(replans[EPISODE] == row[EPISODE]).all(axis=1)]
        chosen.append(Film(setting, row.to_dict() | {"replan_rows": replans.to_dict("records")}))
    return chosen


def replay(film: Film, policy: CachedPolicy) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The pictures of the episode run again: as many as `film.frames`.

    ValueError where success, steps or any decision to reuse is not what was recorded.
    """
    row = film.row
    pictures = []
    env = Filmed(LiberoEnv(task(row["suite"], row["task"]), PROTOCOL.render, PROTOCOL.size), pictures.append, SIDE)
    try:
        seen = (row["initial_state"], row["seed"], film.setting.seeing)
        outcome, replans, _ = rollout(env, policy, *seen)
    finally:
        env.close()
    now = (outcome["success"], outcome["steps"], [r["reused"] for r in replans])
    if now != (then := (row["success"], row["steps"], [r["reused"] for r in row["replan_rows"]])):
        raise ValueError(f"run again, {film.name} is {now[:2]} and not the recorded {then[:2]}, or decides otherwise")
    return pictures


def drawn(film: Film, pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Iterator[UInt8[np.ndarray, "height w 3"]]:
    """Each picture with the decision in force below it, the last one with how the episode ended."""
    replans = film.row["replan_rows"]
    for step, picture in enumerate(pictures):
        current = max(k for k, replan in enumerate(replans) if replan["step"] <= step)
        frame = Image.new("RGB", (SIDE, SIDE + STRIP), PAPER)
        frame.paste(Image.fromarray(picture))
        pen = ImageDraw.Draw(frame)
        _decision(pen, film.setting, replans[current])
        _similarity(pen, film.setting, replans[current])
        _course(pen, film, current)
        if step == film.row["steps"]:
            said = f"success after {step} steps" if film.row["success"] else f"failure: not done after {step} steps"
            pen.rectangle((0, 0, SIDE, 40), fill=INK)
            pen.text((SIDE / 2, 20), said, PAPER, _font(24), anchor="mm")
        yield np.asarray(frame)


def _decision(pen: ImageDraw.ImageDraw, setting: Setting, replan: dict) -> None:
    """Computed or reused, and how old the cache is."""
    pen.rectangle((0, SIDE, 168, SIDE + 40), fill=_colour(setting, replan["reused"]))
    pen.text((84, SIDE + 20), "reused" if replan["reused"] else "computed", PAPER, _font(24), anchor="mm")
    ago = f"{replan['age']} replan{'s' if replan['age'] > 1 else ''} old" if replan["reused"] else "new"
    pen.text((184, SIDE + 20), f"cache: {ago}", INK, _font(24), anchor="lm")


def _similarity(pen: ImageDraw.ImageDraw, setting: Setting, replan: dict) -> None:
    """The images' similarity with those of the last computed replan, as number and bar, and the gate's threshold."""
    similar, top = replan["vision_anchor"], SIDE + 54
    if similar is None or np.isnan(similar):
        pen.text((8, top + 16), "first replan: nothing to compare", INK, _font(22), anchor="lm")
        return
    pen.text((8, top + 16), f"similarity {similar:.3f}", INK, _font(22), anchor="lm")
    left, right = 200, SIDE - 10
    pen.rectangle((left, top + 4, right, top + 28), outline=INK)
    pen.rectangle((left, top + 4, _along(similar, left, right), top + 28), fill=_colour(setting, replan["reused"]))
    bounds = [term.bound for term in parse_gate(setting.gate).terms if term.signal == "vision_anchor"]
    for at in (_along(bound, left, right) for bound in bounds):
        pen.line((at, top - 4, at, top + 34), INK, 4)
    said = f"opens at {bounds[0]:g}" if bounds else "no gate"
    pen.text((left + 8, top + 16), said, PAPER, _font(18), anchor="lm", stroke_width=2, stroke_fill=INK)


def _course(pen: ImageDraw.ImageDraw, film: Film, current: int) -> None:
    """A cell for each replan that the step limit allows, the past ones in the colour of their decision."""
    replans, top = film.row["replan_rows"], SIDE + STRIP - 30
    most = -(-STEP_LIMITS[film.row["suite"]] // PROTOCOL.replan_every)
    for k in range(most):
        cell = (round(k * SIDE / most) + 1, top, round((k + 1) * SIDE / most) - 2, top + 22)
        pen.rectangle(cell, fill=_colour(film.setting, replans[k]["reused"]) if k <= current else "#E0E0E0")


def _along(similarity: float, left: int, right: int) -> float:
    return left + (right - left) * (np.clip(similarity, LEAST, 1) - LEAST) / (1 - LEAST)


def _colour(setting: Setting, reused: bool) -> str:
    return look(setting.mode)["color"] if reused else COMPUTED


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def write(film: Film, frames: Sequence[UInt8[np.ndarray, "height w 3"]], folder: Path = FOLDER) -> None:
    """The film as H.264 (yuv420p, which every browser plays), and its last frame as the poster."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width, _ = frames[0].shape
    out = imageio_ffmpeg.write_frames(
        folder / f"{film.name}.mp4",
        (width, height),
        fps=RATE,
        codec="libx264",
        quality=None,
        output_params=["-crf", "26", "-movflags", "+faststart"],
    )
    out.send(None)
    for frame in frames:
        out.send(np.ascontiguousarray(frame))
    out.close()
    Image.fromarray(frames[-1]).save(folder / f"{film.name}.jpg", quality=80, optimize=True)


def table(shown: Sequence[Film]) -> pd.DataFrame:
    """One row per film: its setting and episode, how it ended, how much was reused, the oldest cache (in replans)."""
    names = ["task", "initial_state", "success", "steps", "replans", "reused"]
    rows = [
        {"setting": str(f.setting), **{name: f.row[name] for name in names}, "oldest cache": f.oldest} for f in shown
    ]
    return pd.DataFrame(rows).set_index("setting").rename(columns={"initial_state": "initial state"})


def players(shown: Sequence[Film]) -> str:
    """HTML: these films side by side, or below one another where the page is narrow, each with its caption."""
    return f'<div style="display: flex; flex-wrap: wrap; gap: 1rem">{"".join(map(_player, shown))}</div>'


def _player(film: Film) -> str:
    row, source = film.row, f"{FROM_PAGE}/{film.name}"
    ended = f"{'success' if row['success'] else 'failure'} after {row['steps']} steps"
    said = (
        f"{film.setting}, task {row['task']} ({task(row['suite'], row['task']).language}), initial state "
        f"{row['initial_state']}: {ended}; {row['reused']} of {row['replans']} replans reused"
    )
    return (
        '<figure style="flex: 1 1 300px; max-width: 480px; margin: 0">'
        f'<video controls muted playsinline preload="none" poster="{source}.jpg" src="{source}.mp4" '
        f'width="{SIDE}" height="{SIDE + STRIP}" style="width: 100%; height: auto" aria-label="{escape(said)}"></video>'
        f"<figcaption>{escape(said)}.</figcaption></figure>"
    )


def main() -> None:
    """Films every episode of SHOWN."""
    torch.set_num_threads(1)  # as the episodes were run
    policy = load(CHECKPOINT)
    for film in tqdm(films(), desc="films", unit="film"):
        reusing = film.setting.on(policy, PROTOCOL.replan_every)
        write(film, list(drawn(film, replay(film, reusing))))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"kvlab: {error}")
