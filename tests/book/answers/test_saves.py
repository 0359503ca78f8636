"""What *What it saves* says of made rows and made times: other rows, other sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import saves
from kvlab.study.settings import Setting, parse_setting
from made import TIMES, made

NO_REUSE, REUSE, FEWER = Setting("none"), Setting("prefix", "every(2)"), Setting("none", denoising_steps=2)
SETTINGS, MACHINES = [NO_REUSE, REUSE, FEWER], {"cpu": TIMES}
N, Y = False, True


def study(reuse=100, fewer=100, steps=20):
    """So many of 100 episodes succeed, each in as many control steps; without reuse all do, in 20."""
    return made(
        {
            NO_REUSE: [(True, 20, [N] * 4)] * 100,
            REUSE: [(n < reuse, steps, [N, Y] * (steps // 10)) for n in range(100)],
            FEWER: [(n < fewer, 20, [N] * 4) for n in range(100)],
        }
    )


def ways(**ms):
    names = {"graph": saves.ONE_GRAPH, "compiled": saves.COMPILED, "lerobot": "LeRobot, not compiled"}
    rows = {names.get(name, name): {"ms": x, "low": 0.9 * x, "high": 1.1 * x, "of": 1} for name, x in ms.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


SLOW = ways(engine=15.0, eager=100.0)


def said(*studies, ways=SLOW, margin=0.05):
    records = dict(zip(("short", "long"), studies, strict=False))
    bought = saves.bought(records, dict.fromkeys(records, SETTINGS), MACHINES, margin, 0.95)
    return [saves.headline(bought, margin), *saves.findings(ways, "9.9", bought, records, MACHINES, margin)]


def test_the_engine_stands_first_against_what_was_measured_beside_it():
    alone, more = (
        said(study(), ways=found)[1]
        for found in (
            ways(engine=15.0, eager=100.0),
            ways(engine=15.0, compiled=20.0, graph=30.0, eager=100.0, lerobot=300.0),
        )
    )
    assert "the engine takes 15.0 ms" in alone and "was not measured in this run" in alone and "LeRobot" not in alone
    assert "in one CUDA graph takes 30.0 ms, and compiled by torch.compile before 20.0 ms" in more
    assert "eager 90 to 110 ms (most of one run); LeRobot 9.9, not compiled 270 to 330 ms" in more


def test_host_bound_times_are_a_range_and_never_a_ratio():
    found = ways(engine=15.0, eager=100.0)
    found.loc["eager", ["low", "high", "of"]] = [111.0, 210.0, 3]
    text = said(study(), ways=found)[1]
    assert "eager 111 to 210 ms (the medians of 3 machines)" in text and "times as" not in text and "100 ms" not in text


def test_what_reuse_saves_is_said_at_the_share_in_use():
    """Of 71 ms a computed replan, a reused one takes 45: (71 + 45) / 2 of 71 is 82 %, and 39 of 71 are 55 %."""
    title, _, usable, solved, budget = said(study(), study())
    leaves = "reuse leaves 82 % (short) and 82 % (long) of the inference"
    assert title == f"Within 5 points {leaves}, the best lever 55 % and 55 %"
    assert "It solves as many as without reuse" in usable and "100 episodes" in usable
    assert usable.startswith("**Reuse that loses under 5 points saves at most 18 % of the inference.**")
    assert "50 % of replans reuse, and a control step takes 82 % (a machine) of the inference" in usable
    assert solved.startswith("**Episodes do not get longer by it.**") and "In `long` 2 denoising steps: 55 %" in solved
    assert "at most 28 % (a machine) of the 50 ms" in budget  # 71 ms every five control steps


def test_what_loses_too_much_saves_nothing_and_what_it_would_save_is_said():
    title, _, usable, solved, _ = said(study(reuse=60))
    assert title.startswith("Within 5 points reuse leaves all (short) of the inference")
    assert usable.startswith("**Reuse that loses under 5 points saves nothing that is shown.**")
    assert "whatever it loses, images, instruction kept, every(2), leaves 82 %, and the loss is over 5 points" in usable
    assert "every(2)" not in solved


def test_longer_episodes_take_a_part_back():
    solved = said(study(steps=40))[3]
    assert solved.startswith("**Longer episodes take a part of it back.**")
    assert "every(2): 163 % (163 to 163)" in solved


def test_where_nothing_is_bought_there_is_no_episode_to_compare():
    assert said(study(reuse=50, fewer=50))[3].startswith("**No setting within the margin saves.**")


def test_tables_are_of_every_suite_and_setting():
    records, settings = {"short": study(), "long": study(reuse=0)}, dict.fromkeys(("short", "long"), SETTINGS)
    step = saves.per_step(records, settings, MACHINES)
    assert list(step["suite"]) == ["short"] * 3 + ["long"] * 3
    assert step.loc["2 denoising steps", "cpu, of no reuse"].to_list() == ["55 %", "55 %"]
    assert step.loc["no reuse", "cpu, of 50 ms"].to_list() == ["28 %", "28 %"]
    episode = saves.per_episode(records, settings, TIMES, 0.95)
    (column,) = [name for name in episode if "solved" in name]
    assert episode.loc["images, instruction kept, every(2)", column].to_list() == ["82 (82 to 82)", "too few solved"]


def test_a_replan_that_was_never_timed_says_so():
    table = saves.one_replan(MACHINES)
    assert table.loc["everything, gate on thumbnails"].to_list() == ["42.0", "59 %"]
    assert table.loc["single image tokens, skipped"].to_list() == ["not timed", ""]
    assert list(table.index) == list(saves.REPLANS)


@pytest.mark.parametrize(
    ("setting", "only"),
    [("full when always", True), ("tokens:skip when always", True), ("chunk when always", False), ("none", False),
     ("prefix when always steps=2", False), ("full when always execute=10", False)],
)  # fmt: skip
def test_what_only_reuses_changes_nothing_else(setting, only):
    assert saves.only_reuses(parse_setting(setting)) is only


def test_the_figure_has_the_cheapest_first_and_leaves_out_what_solves_too_little():
    settings, step, solved = saves.figure_rows(study(), SETTINGS, TIMES, 0.95)
    assert settings == [FEWER, REUSE] and step == pytest.approx([39 / 71, 58 / 71])
    assert [interval.estimate for interval in solved] == pytest.approx(step)
    assert saves.figure_rows(study(reuse=1), SETTINGS, TIMES, 0.95)[0] == [FEWER]
