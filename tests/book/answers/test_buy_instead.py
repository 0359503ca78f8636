"""What *What to buy instead* says of made rows: other rows, other sentences."""

from kvlab.book.answers import buy_instead
from kvlab.evidence import frontier
from kvlab.study.settings import Setting
from made import TIMES, made

NO_REUSE, FEWER, REUSE = Setting("none"), Setting("none", denoising_steps=2), Setting("prefix", "every(2)")
SETTINGS, MACHINES = [NO_REUSE, FEWER, REUSE], {"cpu": TIMES}


def study(fewer, reuse, steps=15):
    """So many of 100 episodes succeed with 2 denoising steps and with every second replan reused; without reuse all."""
    return made(
        {
            NO_REUSE: [(True, 15, [False] * 4)] * 100,
            FEWER: [(n < fewer, steps, [False] * 4) for n in range(100)],
            REUSE: [(n < reuse, 15, [False, True] * 2) for n in range(100)],
        }
    )


def bought(records, margin=0.05):
    return frontier.within_margin(records, SETTINGS, NO_REUSE, MACHINES, margin)


def said(*studies, margin=0.05):
    records = dict(zip(("short", "long"), studies, strict=False))
    places = {suite: frontier.frontier(rows, SETTINGS, TIMES, resamples=100) for suite, rows in records.items()}
    return buy_instead.findings(bought(records, margin), places, records, MACHINES, margin, 0.95)


def test_the_cheapest_lever_and_the_cheapest_reuse_are_named():
    """Of 71 ms a replan takes 39 with 2 of 10 denoising steps; one reused 46."""
    lever, reuse, unbeaten, longer = said(study(100, 100), study(100, 100))
    assert lever.startswith("**The cheapest lever within 5 points: 2 denoising steps.** A control step takes 55 %")
    assert lever.count("100 episodes") == 2
    assert reuse.startswith("**The cheapest setting that reuses within 5 points: images, instruction kept, every(2).**")
    assert unbeaten.startswith("**Every setting that reuses is beaten.**")
    assert longer.startswith("**It is not shown to take longer.**")


def test_one_suite_that_loses_is_enough_to_rule_a_lever_out():
    lever, reuse, unbeaten = said(study(100, 60), study(60, 60))
    assert lever.startswith("**No lever is shown to be worth it.**")
    assert reuse.startswith("**No setting that reuses is shown to be worth it.**")
    assert "under 5 points in every suite" in lever


def test_an_undecided_loss_buys_nothing_until_the_margin_is_wider():
    assert said(study(96, 50))[0].startswith("**No lever is shown")
    assert said(study(96, 50), margin=0.2)[0].startswith("**The cheapest lever within 20 points")


def test_reuse_may_be_unbeaten_and_longer_episodes_are_said():
    assert said(study(60, 100))[2].startswith("**Settings that reuse are among the unbeaten.**")
    assert said(study(100, 100, steps=30))[-1].startswith("**It takes longer to succeed.**")


def test_the_title_and_the_tables_follow_the_rows():
    good, bad = {"short": study(100, 100)}, {"short": study(10, 10)}
    assert buy_instead.headline(bought(good), 0.05) == (
        "Cheapest within 5 points: 2 denoising steps, at 55 % of the inference"
    )
    assert buy_instead.headline(bought(bad), 0.05).startswith("No lever is shown")
    table = buy_instead.table(bought(bad), MACHINES)
    assert table.loc["2 denoising steps", "loss, short"] == "outside" and "no reuse" not in table.index
    places = {"short": frontier.frontier(good["short"], SETTINGS, TIMES, resamples=100)}
    steps = buy_instead.steps_table(places, good, 0.95)
    assert steps.loc["2 denoising steps"].to_list() == ["short", "1.00 (1.00 to 1.00)", "100%"]


def test_every_row_has_one_interval_that_of_the_claim():
    records = {"short": study(99, 90), "long": study(100, 100)}
    places = {suite: frontier.frontier(rows, SETTINGS, TIMES, resamples=100) for suite, rows in records.items()}
    assert buy_instead.table(bought(records), MACHINES).loc["2 denoising steps"].to_list() == [
        "55%", "-1", "undecided", "0", "inside",
    ]  # fmt: skip
    table = buy_instead.losses(places, records, 0.05, 0.95)
    assert table.columns.to_list() == ["suite", "points", "loss"] and len(table) == 4
    (row,) = table[(table.suite == "short") & (table.index == "2 denoising steps")].itertuples(index=False)
    assert row == ("short", "-1 (-5 to 3)", "undecided")


def test_suites_may_have_other_settings():
    records = {"short": study(100, 100), "long": study(100, 100)}
    places = {
        suite: frontier.frontier(records[suite], settings, TIMES, resamples=100)
        for suite, settings in (("short", SETTINGS), ("long", [NO_REUSE, FEWER]))
    }
    steps = buy_instead.steps_table(places, records, 0.95)
    assert steps.suite.to_list() == ["short", "short", "long"]
