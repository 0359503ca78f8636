"""What *What it saves* says of made rows and made times: other rows, other sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import saves
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency
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


SLOW = pd.DataFrame({"ms": [15.0, 100.0], "low": [14.0, 90.0], "high": [16.0, 110.0], "of": 1}, ["engine", "eager"])


def said(*studies, margin=0.05):
    records = dict(zip(("short", "long"), studies, strict=False))
    bought = saves.bought(records, dict.fromkeys(records, SETTINGS), MACHINES, margin, 0.95)
    return [saves.headline(bought, margin), *saves.findings(SLOW, "9.9", bought, records, MACHINES, margin)]


def test_what_reuse_saves_is_said_at_the_share_in_use():
    """Of 71 ms a computed replan, a reused one takes 45: (71 + 45) / 2 of 71 is 82 %, and 39 of 71 are 55 %."""
    title, _, usable, solved, _ = said(study(), study())
    assert (
        title
        == "With a loss under 5 points a reused cache saves at most 18 % (CPU), the best lever here at most 45 % (CPU)"
    )
    assert usable.startswith(
        "**Of these settings, with a loss under 5 points, a reused cache saves at most 18 % (CPU). A kept chunk "
        "saves nothing that is shown.** In `short` images, instruction kept, every(2) takes 82 % (CPU) of the "
        "inference per control step; it solves as many as without reuse"
    )
    assert "In `long` no setting with a kept chunk saves and is shown to lose under 5 points." in usable
    assert usable.endswith("Whatever it loses, a reused cache by itself leaves at least 82 % (CPU).")
    assert solved.startswith("**Longer episodes are not shown to take any of it back.** An episode here")
    kept, fewer = "82 % a control step, 82 % (82 to 82) an episode", "55 % a control step, 55 % (55 to 55) an episode"
    assert f"In `long` images, instruction kept, every(2): {kept}; 2 denoising steps: {fewer}." in solved


def test_every_machine_has_its_own_most():
    """On the second machine, where denoising takes no time, a computed replan takes 31 ms, a reused one 5."""
    stages = TIMES.stages.assign(denoise=0.0)
    machines, rows = {"cpu": TIMES, "h100": Latency("another", stages)}, study(steps=20)
    bought = saves.bought({"short": rows}, {"short": SETTINGS}, machines, 0.05, 0.95)
    assert saves.headline(bought, 0.05) == (
        "With a loss under 5 points a reused cache saves at most 18 % (CPU) and 42 % (H100), the best lever here at "
        "most 45 % (CPU) and 42 % (H100)"
    )
    _, usable, *_ = saves.findings(SLOW, "9.9", bought, {"short": rows}, machines, 0.05)
    assert "a reused cache saves at most 18 % (CPU) and 42 % (H100). A kept chunk saves nothing that is" in usable
    assert usable.endswith("Whatever it loses, a reused cache by itself leaves at least 82 % (CPU) and 58 % (H100).")


def test_a_kept_chunk_stands_beside_a_reused_cache():
    chunk = Setting("chunk", "every(2)")
    rows = made({NO_REUSE: [(True, 20, [N] * 4)] * 100, chunk: [(True, 20, [N, Y] * 2)] * 100})
    bought = saves.bought({"short": rows}, {"short": [NO_REUSE, chunk]}, MACHINES, 0.05, 0.95)
    _, usable, *_ = saves.findings(SLOW, "9.9", bought, {"short": rows}, MACHINES, 0.05)
    assert "a reused cache saves nothing that is shown. A kept chunk saves at most 50 % (CPU).**" in usable
    assert "In `short` chunk kept, every(2) takes 50 % (CPU)" in usable and "Whatever it loses" not in usable


def test_what_loses_too_much_saves_nothing_and_what_it_would_save_is_said():
    title, _, usable, solved, _ = said(study(reuse=60))
    assert title.startswith("With a loss under 5 points a reused cache saves nothing that is shown, the best lever")
    assert (
        "In `short` no setting with a reused cache or a kept chunk saves and is shown to lose under 5 points." in usable
    )
    assert usable.endswith("Whatever it loses, a reused cache by itself leaves at least 82 % (CPU).")
    assert "every(2)" not in solved


@pytest.mark.parametrize(
    ("slower", "lead"),
    [
        (
            1,
            "On average inference fits into a control step; one replan of a machine does not",
        ),  # 71 ms, of which five steps share
        (0.5, "A saving buys idle time where a replan already fits into a control step"),
        (4, "Inference does not fit into a control step"),
    ],
)
def test_the_mean_and_the_longest_replan_are_held_against_a_control_step(slower, lead):
    machines = {"cpu": Latency("a machine", slower * TIMES.stages)}
    records = {"short": study()}
    bought = saves.bought(records, {"short": SETTINGS}, machines, 0.05, 0.95)
    budget = saves.findings(SLOW, "9.9", bought, records, machines, 0.05)[3]
    assert budget.startswith(f"**{lead}.**") and f"{28.4 * slower:.0f} % (a machine) of the 50 ms" in budget
    assert f"A replan that computes takes {71 * slower:.0f} ms, with a cache as without" in budget


def test_where_longer_episodes_take_a_saving_back_and_how_much_of_it():
    solved = said(study(), study(steps=40))[3]
    assert solved.startswith(
        "**Longer episodes take back all of the saving of a reused cache in `long`.** The other settings named here "
        "are not shown to lose any of theirs."
    )
    assert "kept, every(2): 82 % a control step, 163 % (163 to 163) an episode" in solved
    longer = study()
    some = (longer.episodes["mode"] == "prefix") & (longer.episodes["task"] == 0)
    longer.episodes.loc[some, ["steps", "replans", "reused"]] = [40, 8, 4]
    solved = said(longer)[3]
    assert solved.startswith("**Longer episodes take back a part of the saving of a reused cache in `short`.** The")
    solved = said(longer, study(steps=40))[3]
    assert solved.startswith(
        "**Longer episodes take back all of the saving of a reused cache in `long`; a part of the saving of a reused "
        "cache in `short`.**"
    )


def test_where_nothing_is_bought_there_is_no_episode_to_compare():
    assert said(study(reuse=50, fewer=50))[3].startswith("**No setting within the margin saves.**")


def test_the_table_is_of_every_suite_and_setting():
    records, settings = {"short": study(), "long": study(reuse=0)}, dict.fromkeys(("short", "long"), SETTINGS)
    table = saves.by_setting(records, settings, MACHINES, 0.95)
    assert list(table["suite"]) == ["short"] * 2 + ["long"] * 2
    assert table.loc["2 denoising steps", "cpu, of no reuse"].to_list() == ["55 %", "55 %"]
    assert table.loc["images, instruction kept, every(2)", "successes"].to_list() == ["100 of 100", "0 of 100"]
    (column,) = [name for name in table if "solved" in name]
    assert table.loc["images, instruction kept, every(2)", column].to_list() == ["82 (82 to 82)", "too few solved"]


def test_a_replan_that_was_never_timed_says_so():
    table = saves.one_replan(MACHINES)
    assert table.loc["everything, gate on thumbnails"].to_list() == ["59 %"]
    assert table.loc["single image tokens, skipped"].to_list() == ["not timed"]
    assert table.loc["nothing, 1 denoising step"].to_list() == ["49 %"]  # 1 + 10 + 20 + 4 of 71
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
