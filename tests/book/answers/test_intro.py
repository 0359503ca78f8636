"""What the start page says of made rows: what is recorded, and other rows another sentence."""

import pytest

from kvlab.book.answers import intro
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.evidence import frontier
from kvlab.study.settings import Setting
from made import TIMES, made

NO_REUSE, FEWER, CHUNK = Setting("none"), Setting("none", denoising_steps=2), Setting("chunk", "every(2)")
MACHINES = {"cpu": TIMES}


def records(chunk: int, without: int = 100):
    """Of 100 episodes two denoising steps solve all, no reuse the first `without`, and the old chunk so many."""
    won = {NO_REUSE: without, FEWER: 100, CHUNK: chunk}
    return made({s: [(n < k, 15, [False, s == CHUNK] * 2) for n in range(100)] for s, k in won.items()})


def said(**suites):
    bought = frontier.within_margin(suites, [NO_REUSE, FEWER, CHUNK], NO_REUSE, MACHINES)
    return intro.findings(bought, suites, MACHINES, SecondSeed(())), bought


def test_the_recommendation_comes_first_and_what_is_not_recorded_is_left_out():
    (taken, chunk), bought = said(short=records(99), long=records(80))
    assert taken.startswith(
        "**Try 2 denoising steps first.** Of the settings listed here it is the cheapest that is shown"
    )
    assert chunk.startswith("**Going on in the old chunk at every second replan loses over 5 points in `long`.** ")
    assert "`short`: 99 of 100 episodes, 1 point fewer than without reuse" in chunk
    assert "`long`: 80 of 100 episodes, 20 points fewer than without reuse" in chunk
    assert intro.named(bought)[:2] == [NO_REUSE, FEWER] and CHUNK in intro.named(bought)


def test_where_fewer_steps_solve_more_in_one_seed_it_is_said_that_this_is_open():
    assert "solves more" not in said(short=records(99))[0][0]
    (taken, _), _ = said(short=records(90, without=80), long=records(99))
    assert "Whether it solves more in `short` is open" in taken and taken.endswith(
        " A larger policy may lose: test yours."
    )
    assert "A choice among many favours the lucky. No second seed is recorded" in taken
    assert "in `short`: 20 (13 to 29), 100 episodes." in taken


@pytest.mark.parametrize(
    ("solved", "lead"),
    [
        (100, " loses under 5 points"),
        (97, ": whether it loses over 5 points is open"),
        (94, " loses success; whether over 5 points is open"),
        (60, " loses over 5 points"),
    ],
)
def test_the_lead_follows_from_the_rows(solved, lead):
    _, chunk = said(short=records(solved))[0]
    assert chunk.startswith(f"**Going on in the old chunk at every second replan{lead}.** ")
