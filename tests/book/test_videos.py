"""Films of recorded episodes: which are shown, that filming changes nothing, what is drawn, and the published files."""

from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pyarrow.dataset as ds
import pytest
from PIL import Image, ImageColor

from kvlab.book import videos
from kvlab.book.plots import look
from kvlab.book.videos import COMPUTED, FOLDER, FROM_PAGE, RATE, SHOWN, SIDE, STRIP, Film
from kvlab.paths import BOOK, DATA
from kvlab.pi0 import load
from kvlab.reuse import CachedPolicy, parse_gate, parse_mode
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import STEP_LIMITS, task
from kvlab.study.rollout import rollout
from kvlab.study.settings import Setting

FULL = Setting("full", "vision >= 0.945")


@pytest.fixture(scope="module")
def shown() -> list[Film]:
    return videos.films()


def film(
    reused: list[bool], steps: int, success: bool = True, setting: Setting = FULL, similarity: float = 0.95
) -> Film:
    ages = [0]
    for again in reused[1:]:
        ages.append(ages[-1] + 1 if again else 0)
    replans = [
        {"step": 5 * k, "reused": again, "age": age, "vision_anchor": similarity if k else np.nan}
        for k, (again, age) in enumerate(zip(reused, ages, strict=True))
    ]
    row = {"suite": "libero_spatial", "task": 4, "initial_state": 5, "success": success, "steps": steps}
    return Film(setting, row | {"replans": len(replans), "reused": sum(reused), "replan_rows": replans})


def test_shown_are_the_first_episodes_that_ended_so_on_one_machine(shown):
    rows = ds.dataset(DATA / "runs" / "libero_spatial", format="parquet").to_table().to_pandas()
    rows = rows[rows["seed"] == 0].sort_values(["initial_state", "task"])
    assert [(one.setting, one.row["success"]) for one in shown] == [*SHOWN] and len({one.name for one in shown}) == 6
    (processor,) = {one.row["processor"] for one in shown}
    for one in shown:
        mine = rows[
            (rows["mode"] == one.setting.mode)
            & (rows["gate"] == one.setting.gate)
            & (rows["seeing"] == one.setting.seeing)
        ]
        first = mine[(mine["processor"] == processor) & (mine["success"] == one.row["success"])].iloc[0]
        assert (one.row["task"], one.row["initial_state"]) == (first["task"], first["initial_state"])
        assert one.frames == first["steps"] + 1


def test_an_outcome_that_no_episode_had_is_told():
    with pytest.raises(ValueError, match="^no episode of `none` failed on "):
        videos.films(shown=[(Setting("none"), False)])


@pytest.mark.parametrize(("mode", "success"), SHOWN, ids=lambda value: str(value).partition(" when")[0])
def test_the_published_film_is_small_plays_anywhere_and_has_a_frame_for_each_step(shown, mode, success):
    (one,) = (one for one in shown if (one.setting, one.row["success"]) == (mode, success))
    path = FOLDER / f"{one.name}.mp4"
    assert 10_000 < path.stat().st_size < 1_000_000
    facts = next(imageio_ffmpeg.read_frames(path))
    assert facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p") and facts["fps"] == RATE
    assert facts["size"] == (SIDE, SIDE + STRIP)
    assert imageio_ffmpeg.count_frames_and_secs(path)[0] == one.frames == one.row["steps"] + 1
    assert path.read_bytes().index(b"moov") < path.read_bytes().index(b"mdat")  # plays while it loads
    with Image.open(path.with_suffix(".jpg")) as poster:
        assert poster.size == facts["size"] and poster.format == "JPEG"


def test_the_folder_holds_no_other_film(shown):
    assert {path.stem for path in FOLDER.iterdir()} == {one.name for one in shown}


def test_filming_changes_no_episode_and_another_episode_is_refused(untrained, monkeypatch):
    monkeypatch.setitem(STEP_LIMITS, "libero_spatial", 13)
    policy = CachedPolicy(load(untrained), parse_mode("full"), parse_gate("every(3)"))
    env = LiberoEnv(task("libero_spatial", 4))
    outcome, replans, _ = rollout(env, policy, 5, 0)
    env.close()
    who = {"suite": "libero_spatial", "task": 4, "initial_state": 5, "seed": 0}
    one = Film(Setting("full", "every(3)"), who | outcome | {"replan_rows": replans})
    drawn, steps, act = [], [], CachedPolicy.act
    monkeypatch.setattr(CachedPolicy, "act", lambda *a: drawn.append(act(*a)) or drawn[-1])
    monkeypatch.setattr(LiberoEnv, "step", lambda env, a, step=LiberoEnv.step: steps.append(a) or step(env, a))
    pictures = videos.replay(one, policy)
    assert len(pictures) == one.frames == 14 and pictures[0].shape == (SIDE, SIDE, 3)
    assert [replan.first_action for _, replan in drawn] == [replan["first_action"] for replan in replans]
    assert all((a != b).any() for a, b in zip(pictures, pictures[1:], strict=False))  # something moves at each step
    other = replace(one, row=one.row | {"replan_rows": [r | {"reused": False} for r in replans]})
    with pytest.raises(
        ValueError, match=r"run again, full_failure is \(False, 13\) and not the recorded \(False, 13\)"
    ):
        videos.replay(other, policy)


def test_the_decision_in_force_is_drawn_below_each_picture():
    one, blank = film([False, True, True], steps=12), np.full((SIDE, SIDE, 3), 200, np.uint8)
    frames = list(videos.drawn(one, [blank] * one.frames))
    assert len(frames) == 13 and {frame.shape for frame in frames} == {(SIDE + STRIP, SIDE, 3)}
    colours = [tuple(map(int, frame[SIDE + 3, 3])) for frame in frames]
    grey, blue = (ImageColor.getrgb(c) for c in (COMPUTED, look("full")["color"]))
    assert colours == [grey] * 5 + [blue] * 8
    course = [{tuple(map(int, pixel)) for pixel in frame[SIDE + STRIP - 20]} for frame in frames]
    assert blue not in course[4] and {grey, blue} < course[5]
    assert all((frame[:SIDE] == 200).all() for frame in frames[:-1]) and (frames[-1][:40] == 0).any()
    same = [(frames[k][SIDE:] == frames[k - 1][SIDE:]).all() for k in range(1, 13)]
    assert [k for k, alike in enumerate(same, start=1) if not alike] == [5, 10]
    assert one.oldest == 2 == film([False, True, True, False, True], steps=25).oldest


@pytest.mark.parametrize(("similar", "share"), [(0.96, 0.8), (0.9, 0.5)])
def test_the_bar_ends_at_the_similarity_and_the_threshold_stands_where_it_is(similar, share):
    one = film([False, similar >= 0.945], steps=10, similarity=similar)
    below = list(videos.drawn(one, [np.zeros((SIDE, SIDE, 3), np.uint8)] * one.frames))[6][SIDE:]
    left, right = 200, SIDE - 10
    colour = ImageColor.getrgb(look("full")["color"] if similar >= 0.945 else COMPUTED)
    filled = np.flatnonzero((below[80] == colour).all(axis=1))
    assert (filled.min(), filled.max()) == pytest.approx((left, left + (right - left) * share), abs=2)
    tick = np.flatnonzero((below[51] == 0).all(axis=1))
    assert tick.mean() == pytest.approx(left + (right - left) * 0.725, abs=1) and len(tick) < 6


def test_players_name_files_that_are_there_and_say_what_is_seen(shown):
    html = videos.players(shown)
    assert html.count("<video controls") == html.count("aria-label=") == html.count("<figcaption>") == len(shown)
    for one in shown:
        assert f'poster="{FROM_PAGE}/{one.name}.jpg" src="{FROM_PAGE}/{one.name}.mp4"' in html
        assert f"{one.row['reused']} of {one.row['replans']} replans reused" in html
    assert FOLDER == BOOK / FROM_PAGE.removeprefix("../") and "vision &gt;= 0.945" in html
