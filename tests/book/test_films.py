"""The film: which episode it is of, what is drawn, and the published files."""

import re

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageColor

from kvlab.book import films
from kvlab.book.plots import look
from kvlab.sim.suites import STEP_LIMITS
from kvlab.study.trial import PICTURE

BLANK = Image.new("RGB", (PICTURE, PICTURE), "#C8C8C8")


@pytest.fixture(scope="module")
def rows():
    return films.episodes()


@pytest.fixture(scope="module")
def drawn(rows):
    return list(films.frames(rows, [[BLANK] * (one.episodes["steps"].iloc[0] + 1) for one in rows]))


def pixel(frame: Image.Image, x: int, y: int) -> tuple[int, ...]:
    return frame.getpixel((x, y))


def test_no_reuse_and_a_fresh_state_solve_the_episode_and_a_kept_state_does_not(rows):
    assert [bool(one.episodes["success"].iloc[0]) for one in rows] == [True, False, True]
    assert [one.replans["reused"].any() for one in rows] == [False, True, True]


def test_an_episode_that_is_not_recorded_is_said():
    with pytest.raises(ValueError, match="task 4, initial state 99 of `none` is not recorded"):
        films.episodes(state=99)


def test_there_is_a_frame_for_each_control_step_of_the_longest(rows, drawn):
    assert len(drawn) == max(one.episodes["steps"].iloc[0] for one in rows) + 1 == STEP_LIMITS["libero_spatial"] + 1


def test_the_bar_has_the_colour_of_the_decision_in_force(rows, drawn):
    at = (PICTURE + 3, PICTURE + 3)  # of `full`
    colours = {True: ImageColor.getrgb(look("full")["color"]), False: ImageColor.getrgb(films.COMPUTED)}
    for step in (0, 4, 5, 9, 10, 104, 105):
        reused = rows[1].replans.set_index("step").loc[step - step % 5, "reused"]
        assert pixel(drawn[step], *at) == colours[bool(reused)], step
    assert pixel(drawn[-1], *at) == ImageColor.getrgb(films.INK)


def test_the_strips_show_the_decisions_so_far_and_no_later_one(drawn):
    line = PICTURE + films.BAR + 50 + 78 + 24 + 10  # of `full`
    blue = ImageColor.getrgb(look("full")["color"])
    filled = [(np.asarray(frame)[line] == blue).all(axis=1).sum() for frame in drawn]
    assert filled[4] == 0 < filled[5] == filled[14] < filled[15] and (np.diff(filled) >= 0).all()


def test_the_published_film_is_small_plays_anywhere_and_has_all_frames(drawn):
    path = films.FOLDER / "film.mp4"
    assert 50_000 < path.stat().st_size < 600_000
    facts = next(imageio_ffmpeg.read_frames(path))
    assert facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p") and facts["fps"] == films.RATE
    assert facts["size"] == films.SIZE
    assert imageio_ffmpeg.count_frames_and_secs(path)[0] == len(drawn) + films.HELD
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # plays while it loads
    with Image.open(path.with_suffix(".jpg")) as poster:
        assert poster.size == films.SIZE and poster.format == "JPEG"


def test_the_player_names_files_that_are_there_and_says_what_is_seen():
    html = films.player("Three <settings>")
    assert 'src="_static/film.mp4"' in html and 'src="../_static/film.mp4"' in html
    assert 'aria-label="Three &lt;settings&gt;"' in html and "<figcaption>Three &lt;settings&gt;</figcaption>" in html
    assert {"film.mp4", "film.jpg", "strip.jpg"} <= {path.name for path in films.FOLDER.iterdir()}
    assert html.count("film.jpg") == 0 and 'poster="data:image/jpeg;base64,' in html  # found wherever the page is read


def test_the_caption_says_that_the_episode_is_chosen_and_of_how_many():
    said = films.chosen()
    assert said.startswith("One chosen episode in three settings: no reuse and prefix solve it, full does not, as in ")
    assert 0 < int(re.search(r"as in (\d+) of 100 episodes", said)[1]) < 100
