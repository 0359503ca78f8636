"""What *Baseline sweep* says of made rows: other rows, other sentences."""

import pytest

from kvlab.book.answers import baseline_sweep, pilot
from kvlab.evidence import summary
from kvlab.study.settings import Setting
from made import TIMES, made

NO_REUSE, STRICT, LOOSE = Setting("none"), Setting("full", "vision >= 0.98"), Setting("full", "vision >= 0.9")
SETTINGS = [NO_REUSE, STRICT, LOOSE]


def study(*successes, episodes=100):
    """So many successes of each setting, of which 0, 1 and 2 of 3 replans reuse."""
    return made(
        {
            setting: [(n < k, 15, [r < reused for r in range(3)]) for n in range(episodes)]
            for reused, (setting, k) in enumerate(zip(SETTINGS, successes, strict=True))
        }
    )


def table(records):
    return summary.compare(records, SETTINGS, NO_REUSE)


def said(*studies, margin=0.1) -> list[str]:
    records = dict(zip(("short", "long"), studies, strict=False))
    return baseline_sweep.findings({suite: table(rows) for suite, rows in records.items()}, records, margin, TIMES)


def test_a_strict_gate_loses_less_than_the_margin():
    within, often, _ = said(study(100, 97, 5))
    assert within == (
        "**`short`: reuse at 33 % of replans is shown to lose, if anything, under 10 points.** The loss is over 10 "
        "points at 67 %. "
        "The loosest threshold of which this is shown is images ≥ 0.98: 97 of 100 episodes succeed, 3 points fewer "
        "than without reuse (8 fewer to 1 more)."
    )
    assert often.startswith("**Frequent reuse costs nearly everything.**") and "5 of 100 episodes" in often


@pytest.mark.parametrize(
    ("episodes", "successes", "shown"),
    [
        (
            100,
            (100, 97, 5),
            "The loss is open at 33 %; over 5 points at 67 %. The loosest threshold of which it is open",
        ),
        (
            3,
            (3, 3, 0),
            "The loss is open at 33 and 67 %. The loosest threshold of which it is open is images ≥ 0.9: 0 of",
        ),
        (
            1,
            (1, 1, 1),
            "The loss is open at 33 and 67 %. The loosest threshold of which it is open is images ≥ 0.9: 1 of",
        ),
        (
            100,
            (100, 80, 94),
            "The loss is shown, but its size open, at 67 %; over 5 points at 33 %. The strictest",
        ),
        (
            100,
            (100, 80, 5),
            "The loss is over 5 points at 33 and 67 %. The strictest threshold is images ≥ 0.98: 80 of 100 ",
        ),
    ],
)
def test_a_smaller_margin_or_fewer_episodes_leave_it_open(episodes, successes, shown):
    within = said(study(*successes, episodes=episodes), margin=0.05)[0]
    assert within.startswith(
        f"**`short`: reuse at none of the shares tried here is shown to lose under 5 points.** {shown}"
    )


def test_a_looser_threshold_may_lose_less_than_a_stricter_one():
    assert said(study(100, 80, 100), margin=0.05)[0].startswith(
        "**`short`: reuse at 67 % of replans is shown to lose, if anything, under 5 points.** The loss is over 5 "
    )


def test_three_episodes_have_no_interval_of_half_the_success_and_show_no_loss():
    few = study(3, 3, 0, episodes=3)
    assert baseline_sweep.halves({"short": few}, SETTINGS, 0.95).endswith("is lost where 50 % of replans reuse.")
    assert said(few)[1].startswith("**Frequent reuse costs nothing that is shown.**")


@pytest.mark.parametrize(("loose", "lead"), [(45, "most of the success"), (80, "part of the success")])
def test_what_frequent_reuse_costs_follows_the_rows(loose, lead):
    assert said(study(100, 100, loose))[1].startswith(f"**Frequent reuse costs {lead}.**")


def test_each_suite_has_its_own_finding():
    claims = said(study(100, 97, 5), study(70, 70, 0))
    assert [claim.split(":")[0] for claim in claims[:2]] == ["**`short`", "**`long`"] and len(claims) == 4
    often = claims[2]
    assert often.startswith(
        "**Frequent reuse costs nearly everything.** In `short`, at 67 % of replans (images ≥ 0.9), 5 of"
    )
    assert "In `long`, at 67 % of replans (images ≥ 0.9), 0 of 100 episodes succeed: 70 points fewer" in often
    apart = said(study(100, 97, 5), study(70, 70, 40))[2]
    assert apart.startswith("**Frequent reuse costs nearly everything in `short` and part of the success in `long`.**")


def test_time_is_that_of_a_threshold_that_one_might_use():
    """The loosest that is shown to lose little, else the loosest that is not shown to lose much, else the loosest."""
    rows = [study(100, 97, 5), study(100, 93, 5), study(100, 80, 5)]
    assert [baseline_sweep._usable(table(one), 0.05) for one in rows] == [STRICT, STRICT, LOOSE]
    assert baseline_sweep._usable(table(study(100, 99, 99)), 0.1) == LOOSE


def test_a_policy_that_never_succeeds_loses_nothing():
    claims = said(study(0, 0, 0))
    assert claims[1].startswith("**Frequent reuse costs nothing that is shown.**")
    assert claims[2].startswith("**That reuse saves inference over an episode is not shown.** In `short` with images")
    assert "both solve" not in claims[2] and ", and no episode is solved both with and without" in claims[2]


@pytest.mark.parametrize(
    ("replans", "lead", "ratio"),
    [(3, "Reuse saves inference", "93"), (6, "Longer episodes undo the saving", "187")],
)
def test_time_is_told_by_control_step_and_by_solved_episode(replans, lead, ratio):
    """Of 71 ms a computed replan takes 71 (none) or 73 (its gate looks), a reused one 53."""
    rows = {
        NO_REUSE: [(True, 15, [False] * 3)] * 100,
        STRICT: [(True, 5 * replans, [False, True, False] * (replans // 3))] * 100,
    }
    records = made(rows)
    table = summary.compare(records, [*rows], NO_REUSE)
    claim = baseline_sweep.findings({"short": table}, {"short": records}, 0.1, TIMES)[2]
    assert claim.startswith(f"**{lead} in `short`.**") and f"both solve {ratio} (" in claim
    assert "a control step takes 93 % of the inference without reuse, an episode that" in claim


def test_half_is_lost_at_a_share_or_nowhere():
    records = {"short": study(100, 90, 10), "long": study(100, 100, 90), "blind": study(0, 0, 0)}
    short, long, blind = baseline_sweep.halves(records, SETTINGS, 0.95).split(". ")
    assert short.startswith("In `short` half of the success without reuse is lost where 50 % of replans reuse (")
    assert long == "In `long` no threshold loses half of the success without reuse"
    assert blind.startswith("In `blind` no episode succeeds without reuse")


def test_the_title_names_the_share_from_which_on_every_threshold_loses():
    falls, at_once, stays = table(study(100, 97, 5)), table(study(100, 60, 50)), table(study(100, 100, 99))
    back = table(study(100, 80, 99))
    assert baseline_sweep.headline({"short": stays}).startswith("No loss of success is shown")
    title = "Where everything is reused, fewer episodes succeed from "
    assert baseline_sweep.headline({"short": falls}) == f"{title}67 % of replans on in short"
    both = {"short": falls, "long": at_once, "back": back}
    assert baseline_sweep.headline(both) == f"{title}67 % of replans on in short and 33 % in long"
    assert baseline_sweep.headline({"back": back}) == "No loss of success is shown to last as reuse grows"


def test_three_episodes_look_perfect_and_are_not_known():
    few, many = pilot.both(study(100, 97, 2), SETTINGS)
    assert [*few.k] == [3, 3, 2] and [*many.k] == [100, 97, 2]
    assert pilot.three_or_hundred(few, many) == (
        "2 of 3 settings look perfect after 3 episodes, 1 after 100; hollow points say nothing "
        "([why](three_or_hundred.ipynb))."
    )
    assert pilot.three_or_hundred(few, few).startswith("2 of 3 settings look perfect after 3 episodes; hollow")
    pooled = study(80, 50, 20)
    assert "hollow" not in pilot.three_or_hundred(*pilot.both(pooled, SETTINGS, pilot=100))
