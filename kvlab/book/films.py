"""The book's film: one recorded episode in three settings, in step, with what each gate decided.

`python -m kvlab.book.films` runs the episode again and writes film and stills to book/_static: some minutes.
"""

import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio_ffmpeg
import numpy as np
import pandas as pd
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from kvlab.book import text
from kvlab.book.plots import look
from kvlab.evidence.rows import successes
from kvlab.paths import BOOK, DATA
from kvlab.sim.suites import STEP_LIMITS
from kvlab.study.again import play, recorded_episode
from kvlab.study.protocol import Protocol
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from kvlab.study.trial import PICTURE

FOLDER = BOOK / "_static"
NAMES = {"none": "no reuse", "full": "full", "prefix": "prefix"}
SETTINGS = tuple(map(parse_setting, ("none", "full when every(2)", "prefix when every(2)")))
TASK, STATE = 4, 5
RATE, HELD = 20, 30  # frames a second, one a control step as the simulation runs; frames that the end stands still
BAR = 32  # pixels below each picture
FOOT = 64  # pixels below all, for the player's controls; the height is a multiple of 16, which H.264 asks for
POSTER = 105  # the control step that the film shows before it is played: both gates reuse
SIZE = (2 * PICTURE, 2 * (PICTURE + BAR) + FOOT)
MOMENTS = (0, 50, 100, 150, 220)  # control steps of the strip
COMPUTED, INK, PAPER, LATER = "#7F7F7F", "#000000", "#FFFFFF", "#E4E4E4"

Pictures = Sequence[Image.Image]  # of an episode: its start, and one after each control step


def study() -> Study:
    """What is shown, among the hundred episodes that it was taken from."""
    protocol = Protocol()
    return Study(DATA / "checkpoints" / "mini_spatial", SETTINGS, 100, protocol)


def episodes(task: int = TASK, state: int = STATE) -> list[Records]:
    """The recorded rows of this episode, one setting each. ValueError where it is not recorded."""
    shown = study()
    return [recorded_episode(shown.recording(setting), task, state, shown.seed) for setting in SETTINGS]


def run_again() -> list[list[Image.Image]]:
    """The pictures of each setting's episode. ValueError where it does not come out to the bit as recorded."""
    shown, pictures = study(), []
    for setting in SETTINGS:
        with TemporaryDirectory() as name:
            one = shown.recording(setting), shown.checkpoint, shown.protocol
            _, found = play(*one, TASK, STATE, shown.seed, Path(name))
            if not found["agrees"]:
                raise ValueError(f"`{setting}` did not come out as it was recorded, so it is not shown")
            pictures.append([Image.open(path).copy() for path in sorted(Path(name).iterdir())])
    return pictures


def frames(rows: Sequence[Records], pictures: Sequence[Pictures]) -> Iterator[Image.Image]:
    """A frame for each control step of the longest episode: three pictures, and all decisions so far."""
    for step in range(max(map(len, pictures))):
        frame = Image.new("RGB", SIZE, PAPER)
        pen = ImageDraw.Draw(frame)
        for n, (setting, one, seen) in enumerate(zip(SETTINGS, rows, pictures, strict=True)):
            left, top = n % 2 * PICTURE, n // 2 * (PICTURE + BAR)
            frame.paste(seen[min(step, len(seen) - 1)], (left, top))
            _bar(pen, (left, top + PICTURE), setting, one, step)
            _course(pen, (PICTURE + 12, PICTURE + BAR + 50 + 78 * n), setting, one, step)
        pen.text((PICTURE + 12, PICTURE + BAR + 22), f"control step {step}", INK, _font(18), anchor="lm")
        yield frame


def strip(rows: Sequence[Records], pictures: Sequence[Pictures]) -> Image.Image:
    """The same for paper: a row for each setting, a picture for each of MOMENTS, all decisions below."""
    side, bar = 150, 46
    still = Image.new("RGB", (side * len(MOMENTS), (side + bar) * len(SETTINGS)), PAPER)
    pen = ImageDraw.Draw(still)
    for n, (setting, one, seen) in enumerate(zip(SETTINGS, rows, pictures, strict=True)):
        top = n * (side + bar)
        for k, step in enumerate(MOMENTS):
            still.paste(seen[min(step, len(seen) - 1)].resize((side, side)), (k * side, top))
            if not n:
                pen.text((k * side + side - 6, 12), f"step {step}", PAPER, _font(20), anchor="rm")
        pen.text((4, top + side + 14), f"{NAMES[setting.mode]}: {ended(one)}", INK, _font(20), anchor="lm")
        _cells(pen, (4, top + side + 29, still.width - 8, 12), setting, one, len(seen))
    return still


def ended(one: Records) -> str:
    """How an episode came out: `solved after 208 control steps`."""
    row = one.episodes.iloc[0]
    how = "solved after" if row["success"] else "not solved in"
    return f"{how} {text.count(int(row['steps']), 'control step')}"


def _bar(pen: ImageDraw.ImageDraw, at: tuple[int, int], setting: Setting, one: Records, step: int) -> None:
    """The setting and what it does, in the colour of its decision; at the end, how it came out."""
    replan = one.replans[one.replans["step"] <= step].iloc[-1]
    over = step >= one.episodes["steps"].iloc[0]
    said = "computes" if not replan["reused"] else "reuses"
    if over:
        said = "solved" if one.episodes["success"].iloc[0] else "not solved"
    left, top = at
    colour = INK if over else _colour(setting, replan["reused"])
    pen.rectangle((left, top, left + PICTURE - 3, top + BAR - 3), fill=colour)
    pen.text((left + 8, top + BAR / 2 - 2), f"{NAMES[setting.mode]}: {said}", PAPER, _font(18), anchor="lm")


def _course(pen: ImageDraw.ImageDraw, at: tuple[int, int], setting: Setting, one: Records, step: int) -> None:
    """All decisions so far, and how old the cache is that the robot acts on."""
    left, top = at
    replan = one.replans[one.replans["step"] <= step].iloc[-1]
    age = f"{text.count(int(replan['age']), 'replan')} old" if replan["age"] else "new"
    pen.text((left, top + 10), f"{NAMES[setting.mode]}, cache: {age}", INK, _font(16), anchor="lm")
    _cells(pen, (left, top + 24, PICTURE - 24, 22), setting, one, step)


def _cells(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], setting: Setting, one: Records, step: int) -> None:
    """A cell for each replan that the step limit allows; those until `step` in the colour of their decision."""
    left, top, width, height = box
    most = STEP_LIMITS[one.episodes["suite"].iloc[0]]
    for start, length, reused in zip(*_spans(one), one.replans["reused"], strict=True):
        cell = (left + width * start / most, top, left + width * (start + length) / most - 2, top + height)
        pen.rectangle(cell, fill=_colour(setting, reused) if start <= step else LATER)


def _spans(one: Records) -> tuple[Sequence[int], Sequence[int]]:
    """Where each replan starts, and how many control steps it is for."""
    starts = one.replans["step"].to_numpy()
    return starts, np.diff([*starts, one.episodes["steps"].iloc[0]])


def _colour(setting: Setting, reused: bool) -> str:
    return look(setting.mode)["color"] if reused else COMPUTED


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def write(shown: Sequence[Image.Image], folder: Path = FOLDER) -> None:
    """`film.mp4`: H.264 in yuv420p, which every browser plays; `film.jpg`, what stands there before it is played."""
    options = ["-crf", "30", "-preset", "slow", "-movflags", "+faststart"]
    out = imageio_ffmpeg.write_frames(
        folder / "film.mp4", SIZE, fps=RATE, codec="libx264", quality=None, output_params=options
    )
    out.send(None)
    for frame in [*shown, *[shown[-1]] * HELD]:
        out.send(np.ascontiguousarray(frame))
    out.close()
    shown[POSTER].save(folder / "film.jpg", quality=75, optimize=True)


def player(said: str) -> str:
    """HTML: the film beside its caption, or above it on a phone.

    JupyterLab finds the file beside the notebook, and the book's pages find it where Sphinx puts it. Of a poster each
    finds only what is in the page itself.
    """
    sources = "".join(f'<source src="{folder}/film.mp4" type="video/mp4">' for folder in ("_static", "../_static"))
    width, height = SIZE
    return (
        f'<figure class="film"><video controls muted playsinline preload="none" poster="{_poster()}" '
        f'width="{width}" height="{height}" aria-label="{escape(said)}">{sources}</video>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )


def _poster() -> str:
    """What stands there before the film is played, as an address that holds the picture, at half its size."""
    with Image.open(FOLDER / "film.jpg") as still, BytesIO() as file:
        still.resize((SIZE[0] // 2, SIZE[1] // 2)).save(file, "JPEG", quality=60, optimize=True)
        return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"


def chosen() -> str:
    """That the episode is a chosen one, and of how many: a caption."""
    shown, records = episodes(), study().read()
    won = {s: bool(one.episodes["success"].iloc[0]) for s, one in zip(SETTINGS, shown, strict=True)}
    alike = pd.concat([successes(records, setting) == end for setting, end in won.items()], axis=1).all(axis=1)
    solve, lose = ([NAMES[s.mode] for s, end in won.items() if end == good] for good in (True, False))
    return (
        f"One chosen episode in three settings: {text.listed(solve)} solve it, {text.listed(lose)} does not, as in "
        f"{alike.sum()} of {text.count(len(alike), 'episode')}. Grey: the replan computes. Colour: it reuses."
    )


def main() -> None:
    """Makes the film and its stills anew."""
    rows, pictures = episodes(), run_again()
    write(list(frames(rows, pictures)))
    strip(rows, pictures).save(FOLDER / "strip.jpg", quality=75, optimize=True)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"kvlab: {error}")
