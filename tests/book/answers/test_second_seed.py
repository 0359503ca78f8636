"""What a second seed says of a setting: of none, some and all of its episodes, and by how they end."""

from dataclasses import replace

import pytest

from kvlab.book.answers.second_seed import NO_REUSE, SecondSeed
from kvlab.paths import CHECKPOINTS
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study

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
            "A second seed confirms it: in `libero_spatial` and `libero_10` it loses under 5 points.",
        ),
        (
            [(0, 100), (20, 100)],
            "A second seed contradicts it: in `libero_spatial` it loses under 5 points; in `libero_10` it loses over 5 "
            "points.",
        ),
        (
            [(3, 100), (0, 20)],
            "A second seed does not confirm it: in `libero_spatial` a loss of 5 points is open; in `libero_10` 20 of "
            "100 episodes are recorded.",
        ),
        (
            [(0, 100), (0, 0)],
            "A second seed does not confirm it: in `libero_spatial` it loses under 5 points; in `libero_10` none of "
            "100 episodes is recorded.",
        ),
        (
            [(3, 100), (4, 100)],
            "A second seed does not confirm it: in `libero_spatial` and `libero_10` a loss of 5 points is open.",
        ),
        ([(0, 1)], "A second seed does not confirm it: in `libero_spatial` 1 of 100 episodes is recorded."),
    ],
)
def test_the_clause_follows_from_the_rows_of_every_suite(second, suites, clause):
    assert second(*suites).clause(FEWER) == clause


def test_another_setting_has_rows_of_its_own(second):
    assert second((0, 100)).clause(Setting("none", denoising_steps=2)) == (
        "No second seed is recorded that could confirm it."
    )


def test_what_is_compared_is_told_with_its_effects(second):
    told = second((3, 100), (0, 20)).told(FEWER)
    assert told.startswith(
        "**A second seed does not confirm it.** Here 1 denoising step and no reuse are compared once more: the same "
        "tasks and initial states, with other noise and other places of cabinet and stove (seed 1). In `libero_"
    )
    assert "3 points fewer than without reuse (" in told and "100 episodes." in told
    assert told.endswith("In `libero_10` 20 of 100 episodes are recorded, so none counts.")


def test_the_margin_is_the_one_that_was_asked_for(second):
    asked = replace(second((20, 100)), margin=0.4)
    assert asked.clause(FEWER) == "A second seed confirms it: in `libero_spatial` it loses under 40 points."
