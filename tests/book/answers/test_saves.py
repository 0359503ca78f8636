"""What *What it saves* says of made rows and made times: other rows, other sentences."""

from types import SimpleNamespace

import pandas as pd
import pytest

from kvlab.book.answers import saves
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import margins, wording
from kvlab.evidence.stats import Interval
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.times import Latency
from made import TIMES, made

NO_REUSE, REUSE, FEWER = Setting("none"), Setting("prefix", "every(2)"), Setting("none", denoising_steps=2)
SETTINGS, MACHINES = [NO_REUSE, REUSE, FEWER], {"cpu": TIMES}
N, Y = False, True
AGAIN = dict.fromkeys(("short", "long"), SecondSeed(()))  # no second seed is recorded


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
KEPT = "images, instruction kept, every(2)"
LESS = (
    "**A solved episode is shown to take less inference with a cache reused and nothing else changed in {} of {}, "
    "more in {}.** A row is a setting in one suite."
)


def said(*studies, margin=0.05):
    records = dict(zip(("short", "long"), studies, strict=False))
    bought = saves.bought(records, dict.fromkeys(records, SETTINGS), MACHINES, margin, 0.95)
    return [saves.headline(bought, margin), *saves.findings(SLOW, bought, records, AGAIN, MACHINES, margin, 0.95)]


def test_what_reuse_saves_is_said_at_the_share_in_use():
    """Of 71 ms a computed replan, a reused one takes 45: (71 + 45) / 2 of 71 is 82 %, and 39 of 71 are 55 %."""
    title, _, usable, solved, _ = said(study(), study())
    assert title == (
        "With a loss under 5 points by the first seed a reused cache and the best lever save 18 % and 45 % in short; "
        "18 % and 45 % in long (CPU)"
    )
    assert usable.startswith(
        "**With a loss that the first seed shows to be under 5 points, the best reused cache listed here saves 18 % in "
        "`short` and 18 % in `long`, and the best kept chunk nothing that is shown in `short` and nothing that is "
        "shown in `long`.**"
    )
    assert "of the inference per control step (CPU). A second seed confirms none of 2. No" in usable
    assert usable.endswith("No cache here by itself leaves less than 82 % (CPU), whatever it loses.")
    assert solved == LESS.format(2, "2 rows", "none")


def test_every_machine_has_its_own_most():
    """On the second machine, where denoising takes no time, a computed replan takes 31 ms, a reused one 5."""
    stages = TIMES.stages.assign(denoise=0.0)
    machines, rows = {"cpu": TIMES, "h100": Latency("another", stages)}, study(steps=20)
    bought = saves.bought({"short": rows}, {"short": SETTINGS}, machines, 0.05, 0.95)
    assert saves.headline(bought, 0.05).endswith("save 18 % and 45 % in short (CPU)")  # as the figure's bars are
    _, usable, *_ = saves.findings(SLOW, bought, {"short": rows}, AGAIN, machines, 0.05, 0.95)
    assert (
        "the best reused cache listed here saves 18 % in `short`, and the best kept chunk nothing that is shown"
        in usable
    )
    best = saves.best(bought, AGAIN, 0.05)
    assert best.columns.to_list() == ["suite", "setting", "saves, cpu", "saves, h100", saves.COMPARED, saves.AGAIN]
    assert best.loc["reused cache"].to_list() == ["short", KEPT, "18 %", "42 %", "0 (-4 to 4)", "not recorded"]
    assert best.loc["kept chunk"].to_list() == ["short", saves.NONE, "", "", "", ""]
    assert best.loc["lever", "setting"] == "2 denoising steps"
    assert usable.endswith("No cache here by itself leaves less than 82 % (CPU) and 58 % (H100), whatever it loses.")


def test_a_kept_chunk_stands_beside_a_reused_cache():
    chunk = Setting("chunk", "every(2)")
    rows = made({NO_REUSE: [(True, 20, [N] * 4)] * 100, chunk: [(True, 20, [N, Y] * 2)] * 100})
    bought = saves.bought({"short": rows}, {"short": [NO_REUSE, chunk]}, MACHINES, 0.05, 0.95)
    _, usable, solved, _ = saves.findings(SLOW, bought, {"short": rows}, AGAIN, MACHINES, 0.05, 0.95)
    assert (
        "cache listed here saves nothing that is shown in `short`, and the best kept chunk 50 % in `short`.**" in usable
    )
    assert saves.best(bought, AGAIN, 0.05).loc["kept chunk", "setting"] == "chunk kept, every(2)"
    assert "whatever it loses" not in usable
    assert solved == "**No reused cache has enough solved episodes to compare.**"


def test_what_loses_too_much_saves_nothing_and_what_it_would_save_is_said():
    title, _, usable, solved, _ = said(study(reuse=60))
    assert title.endswith("and the best lever save nothing that is shown and 45 % in short (CPU)")
    assert (
        "the best reused cache listed here saves nothing that is shown in `short`, and the best kept chunk nothing"
        in usable
    )
    assert usable.endswith("No cache here by itself leaves less than 82 % (CPU), whatever it loses.")
    assert "every(2)" not in solved  # 60 episodes are solved, and the cache is cheaper in these
    assert solved == LESS.format(1, "1 row", "none")


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
    budget = saves.findings(SLOW, bought, records, AGAIN, machines, 0.05, 0.95)[3]
    assert budget.startswith(f"**{lead}.**") and f"{28.4 * slower:.0f} % (a machine) of its 50 ms." in budget
    assert f"A replan that computes takes {71 * slower:.0f} ms: reuse shortens the mean" in budget


@pytest.mark.parametrize(
    ("verdicts", "told", "column"),
    [
        ((margins.INSIDE, margins.UNDECIDED), "1 of 2 (reused cache, `short`).", ["under 5", "open"]),
        ((margins.OUTSIDE, margins.UNDECIDED), "none of 2.", ["over 5", "open"]),
        ((margins.INSIDE, margins.INSIDE), "2 of 2 (reused cache, `short`; reused cache, `long`).", ["under 5"] * 2),
    ],
)
def test_what_a_second_seed_shows_of_the_chosen_is_said(verdicts, told, column):
    """Savings of settings that the first seed chose, of which a second may leave the loss open."""
    again = {
        suite: SimpleNamespace(of=lambda _, verdict=verdict: SimpleNamespace(verdict=verdict))
        for suite, verdict in zip(("short", "long"), verdicts, strict=True)
    }
    records = {"short": study(), "long": study()}
    bought = saves.bought(records, dict.fromkeys(records, SETTINGS), MACHINES, 0.05, 0.95)
    usable = saves.findings(SLOW, bought, records, again, MACHINES, 0.05, 0.95)[1]
    assert f"A second seed confirms {told} No cache here" in usable
    assert saves.best(bought, again, 0.05).loc["reused cache", saves.AGAIN].to_list() == column


def test_ends_of_a_ratio_show_on_which_side_of_100_they_are():
    """An interval that is counted as dearer must not be printed as one that reaches 100."""
    assert wording.of_100(Interval(1.0451, 1.0034, 1.0873, 0.95, "made")) == "105 (100.3 to 109)"
    assert wording.of_100(Interval(0.96, 0.92, 0.99996, 0.95, "made")) == "96 (92 to 99.996)"
    assert wording.of_100(Interval(1.0, 1.0, 1.0, 0.95, "made")) == "100 (100 to 100)"


def few_longer(tasks, steps=40):
    """Rows in which episodes of some tasks take `steps` with the cache, in place of 20."""
    rows = study()
    some = (rows.episodes["mode"] == "prefix") & rows.episodes["task"].isin(tasks)
    rows.episodes.loc[some, ["steps", "replans", "reused"]] = [steps, steps // 5, steps // 10]
    return rows


def test_episodes_of_all_reused_caches_are_counted_whatever_they_lose():
    """The cache of the long suite loses 40 points: no claim may take its saving, and its episodes are counted."""
    solved = said(study(), study(reuse=60, steps=40))[3]
    assert solved == LESS.format(1, "2 rows", 1)
    assert said(few_longer([0, 1, 2]))[3] == LESS.format("none", "1 row", "none")


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
