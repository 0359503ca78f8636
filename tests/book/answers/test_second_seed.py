"""What a second seed says of a setting: of none, some and all of its episodes, and by how they end."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from kvlab.book.answers import second_seed
from kvlab.book.answers.second_seed import NO_REUSE, SecondSeed
from kvlab.evidence import margins
from kvlab.evidence.stats import Pairs, paired_difference
from kvlab.evidence.wording import points
from kvlab.paths import CHECKPOINTS
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from made import made

FEWER = Setting("none", denoising_steps=1)


@pytest.fixture
def second(tmp_path, make_row):
    """A function of (episodes lost by FEWER, episodes recorded), one pair a suite; without reuse all are solved."""

    def recorded(*suites: tuple[int, int]) -> SecondSeed:
        studies = []
        for suite, (lost, many) in zip(("libero_spatial", "libero_10"), suites, strict=False):
            one = Study(CHECKPOINTS[suite], (NO_REUSE,), 100, Protocol(suite), folder=tmp_path)
            studies.append(one)
            again = replace(one, settings=(NO_REUSE, FEWER), seed=1)
            for setting, failed in zip(again.settings, (0, lost), strict=True):
                for n, (task, state) in enumerate(again.trials()[:many]):
                    again.recording(setting).add(make_row(task, state, seed=1) | {"success": n >= failed})
        return SecondSeed(tuple(studies))

    return recorded


@pytest.mark.parametrize(
    ("suites", "clause"),
    [
        ([(0, 0), (0, 0)], "No second seed is recorded that could confirm it."),
        (
            [(0, 100), (0, 100)],
            "A second seed confirms it: in `libero_spatial` and `libero_10` it loses under 5 points, if any.",
        ),
        (
            [(0, 100), (20, 100)],
            "A second seed contradicts it: in `libero_spatial` it loses under 5 points, if any; in `libero_10` it "
            "loses over 5 points.",
        ),
        (
            [(3, 100), (0, 20)],
            "A second seed does not confirm it: in `libero_spatial` a loss of 5 points is open; in `libero_10` 20 of "
            "100 episodes are recorded.",
        ),
        (
            [(0, 100), (0, 0)],
            "A second seed does not confirm it: in `libero_spatial` it loses under 5 points, if any; in `libero_10` "
            "none of 100 episodes is recorded.",
        ),
        (
            [(3, 100), (4, 100)],
            "A second seed does not confirm it: in `libero_spatial` and `libero_10` a loss of 5 points is open.",
        ),
        ([(0, 1)], "A second seed does not confirm it: in `libero_spatial` 1 of 100 episodes is recorded."),
    ],
)
def test_the_clause_follows_from_the_rows_of_every_suite(second, suites, clause):
    assert second(*suites).of(FEWER).clause == clause


def test_another_setting_has_rows_of_its_own(second):
    assert second((0, 100)).of(Setting("none", denoising_steps=2)).clause == (
        "No second seed is recorded that could confirm it."
    )


@pytest.mark.parametrize(
    ("suites", "missing"),
    [
        ([(0, 0), (0, 0)], "no second seed is recorded"),
        ([(0, 100), (0, 100)], ""),
        ([(0, 100), (3, 100)], "by a second seed in `libero_10` a loss of 5 points is open"),
        ([(3, 100), (4, 100)], "by a second seed a loss of 5 points is open"),
        ([(20, 100), (0, 20)], "by a second seed in `libero_spatial` it loses over 5 points; in `libero_10` 20 of 100"),
    ],
)
def test_what_is_missing_is_told_of_the_suites_that_lack_it(second, suites, missing):
    found = second(*suites).of(FEWER).missing
    assert found.startswith(missing) and bool(found) == bool(missing)


TWO = Setting("none", denoising_steps=2)


IN, OPEN, OUT = margins.INSIDE, margins.UNDECIDED, margins.OUTSIDE


@pytest.mark.parametrize(
    ("one", "two", "taken", "cheaper"),
    [
        (IN, IN, FEWER, []),  # the cheapest, where the second seed shows it too
        (OPEN, IN, TWO, [FEWER]),  # a dearer one, where it alone is shown twice
        (OUT, IN, TWO, [FEWER]),
        (None, IN, TWO, [FEWER]),  # without a second seed it is a candidate
        (OPEN, OPEN, FEWER, []),  # as the first seed has it, where none is shown twice
        (None, None, FEWER, []),
    ],
)
def test_the_cheapest_that_both_seeds_show_is_taken(monkeypatch, one, two, taken, cheaper):
    verdicts = {FEWER: one, TWO: two}
    monkeypatch.setattr(
        SecondSeed, "of", lambda self, setting: SimpleNamespace(setting=setting, verdict=verdicts[setting])
    )
    choice = SecondSeed(()).choose([FEWER, TWO])
    assert choice.taken.setting == taken and [again.setting for again in choice.cheaper] == cheaper
    assert choice.confirmed == (IN in (one, two)) and [one.setting for one in choice.all] == [taken, *cheaper]


def test_of_nothing_nothing_is_taken():
    assert SecondSeed(()).choose([]) is None


def test_both_seeds_have_a_row_where_a_second_is_recorded(second):
    again = second((3, 100)).of(FEWER)
    assert again.clause == "A second seed does not confirm it: in `libero_spatial` a loss of 5 points is open."
    rows = {"libero_spatial": first(99)}
    one, two, both = second_seed.table([again, second((0, 0)).of(TWO)], rows).itertuples()
    assert [one[3], two[3]] == again.points(rows)["libero_spatial"]
    assert one[:3] == ("1 denoising step", "libero_spatial", "first") and (two[2], both[2]) == ("second", "both")
    # 1 and 3 of 100 lost and none won leave 0 open; the 4 of 200 do not
    assert (one[4], two[4], both[4]) == ("open", "open", "loses") and f": {two[3]} in" in again.effects(rows)


def test_a_second_seed_that_is_recorded_in_part_says_how_much(second):
    table = second_seed.table([second((3, 20)).of(FEWER)], {"libero_spatial": first(99)})
    assert len(table) == 2 and table.iloc[1].to_list()[1:] == ["second", "20 recorded", ""]


def test_the_margin_is_the_one_that_was_asked_for(second):
    asked = replace(second((20, 100)), margin=0.4)
    assert asked.of(FEWER).clause == "A second seed confirms it: in `libero_spatial` it loses under 40 points, if any."


def first(solved: int, without: int = 100):
    """Of the first seed's hundred episodes so many are solved with FEWER and without reuse."""
    won = {NO_REUSE: without, FEWER: solved}
    return made({setting: [(n < k, 15, [False] * 4) for n in range(100)] for setting, k in won.items()})


@pytest.mark.parametrize(
    ("lost", "many", "advice"),
    [
        (0, 100, "Take 1 denoising step"),
        (3, 100, "Try 1 denoising step first"),
        (0, 20, "Try 1 denoising step first"),
        (0, 0, "Try 1 denoising step first"),
        (20, 100, "Do not rely on 1 denoising step"),
    ],
)
def test_the_advice_is_as_sure_as_the_second_seed(second, lost, many, advice):
    assert second((lost, many)).of(FEWER).advice == advice


def test_the_points_are_of_the_seed_that_chose_nothing(second):
    rows = {suite: first(99) for suite in ("libero_spatial", "libero_10")}
    three = points(paired_difference(Pairs(97, 0, 3, 0)), 0.05)
    assert second((3, 100), (0, 100)).of(FEWER).effects(rows) == (
        f"Points by the second seed, which chose none: {three} in `libero_spatial`; 0 (-4 to 4) in `libero_10`, 100 "
        "episodes each."
    )


def test_the_points_are_of_the_first_seed_where_a_suite_lacks_the_second(second):
    rows = {suite: first(99) for suite in ("libero_spatial", "libero_10")}
    one = points(paired_difference(Pairs(99, 0, 1, 0)), 0.05)
    assert second((3, 100), (0, 20)).of(FEWER).effects(rows) == (
        f"Points by the first seed: {one} in `libero_spatial`; {one} in `libero_10`, 100 episodes each."
    )


def test_without_a_whole_second_seed_the_first_stands_alone(second):
    said = second((3, 20)).of(FEWER).effects({"libero_spatial": first(100)})
    assert said == "Points by the first seed: 0 (-4 to 4) in `libero_spatial`, 100 episodes."
