"""What *What to buy instead* says of made rows: other rows, other sentences."""

import jupytext

from kvlab.book import tables
from kvlab.book.answers import buy_instead, recommended, trained_again
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.book.recorded import in_full
from kvlab.evidence import frontier
from kvlab.paths import BOOK, CHECKPOINTS, DATA, ROOT
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from kvlab.study.times import latency
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
    return buy_instead.findings(bought(records, margin), places, records, MACHINES, SecondSeed((), margin))


def test_the_cheapest_lever_and_the_cheapest_reuse_are_named():
    """Of 71 ms a replan takes 39 with 2 of 10 denoising steps; one reused 46."""
    lever, reuse, unbeaten, longer = said(study(100, 100), study(100, 100))
    assert lever.startswith(
        "**Try 2 denoising steps first.** A control step takes 55 % (a machine) of the inference of no reuse. Of the "
        "settings listed here it is the cheapest that is shown to lose under 5 points, if any, in every suite. No "
    )
    assert lever.endswith(" A larger policy may lose: test yours.")
    points = "Points by the first seed: 0 (-4 to 4) in `short`; 0 (-4 to 4) in `long`"
    unconfirmed = f"No second seed is recorded that could confirm it. {points}"
    assert unconfirmed in lever and f"{unconfirmed}, 100 episodes each." in reuse
    assert reuse.endswith(
        "An episode that both solve takes 82 % (82 to 82) in `short`; 82 % (82 to 82) in `long` of the inference (a "
        "machine)."
    )
    assert reuse.startswith(
        "**If you reuse: the candidate is images, instruction kept, every(2).** A control step takes"
    )
    assert "Of the settings listed here that reuse it is the cheapest" in reuse
    assert unbeaten.startswith("**Every setting that reuses is beaten** by one at least as cheap and as good, and")
    assert unbeaten.endswith("In `short` and `long` these are unbeaten without training: 2 denoising steps.")
    assert longer.startswith("**Episodes are not shown to take longer with 2 denoising steps.**")


def test_one_suite_that_loses_is_enough_to_rule_a_lever_out():
    lever, reuse, unbeaten = said(study(100, 60), study(60, 60))
    assert lever.startswith("**No lever is shown to be worth it.**")
    assert reuse.startswith("**No setting that reuses is shown to be worth it.**") and "itself" not in reuse
    assert "under 5 points in every suite" in lever


def test_reuse_that_is_worth_it_in_one_suite_is_said():
    _, reuse, *_ = said(study(100, 100), study(100, 60))
    assert reuse.startswith("**No setting that reuses is shown to be worth it.**")
    assert reuse.endswith("In `short` by itself the cheapest that has is: images, instruction kept, every(2).")
    records = {"short": study(100, 100), "long": study(100, 60)}
    assert buy_instead.named(bought(records), SecondSeed(())) == [NO_REUSE, FEWER, REUSE]


def test_longer_episodes_may_take_the_saving_of_reuse_back():
    """Reuse takes 82 % of the inference of a control step, and episodes 4 of 3 times the replans."""

    def solved(replans):
        return made(
            {
                NO_REUSE: [(True, 15, [False] * 6)] * 100,
                FEWER: [(True, 15, [False] * 6)] * 100,
                REUSE: [(True, 20, [False, True] * (replans // 2))] * 100,
            }
        )

    assert "no saving is shown" not in said(solved(6))[1]
    assert "; so in `short` no saving is shown." in said(solved(8))[1]


def test_an_undecided_loss_buys_nothing_until_the_margin_is_wider():
    assert said(study(96, 50))[0].startswith("**No lever is shown")
    assert said(study(96, 50), margin=0.2)[0].startswith("**Try 2 denoising steps first.**")


def test_reuse_may_be_unbeaten_and_longer_episodes_are_said():
    assert said(study(60, 100))[2].startswith("**Settings that reuse are among the unbeaten**.")
    assert said(study(100, 100, steps=30))[-1].startswith(
        "**Episodes are shown to take longer with 2 denoising steps.**"
    )


def test_the_title_and_the_tables_follow_the_rows():
    good, bad = {"short": study(100, 100)}, {"short": study(10, 10)}
    choices = [recommended.recommended(bought(records), SecondSeed(())) for records in (good, bad)]
    assert buy_instead.headline(bought(good), choices[0], 0.05) == (
        "Cheapest within 5 points: 2 denoising steps, at 55 % of the inference"
    )
    assert buy_instead.headline(bought(bad), choices[1], 0.05).startswith("No lever is shown")
    table = buy_instead.table(bought(bad), bad, MACHINES, 0.05)
    assert table.loc["2 denoising steps", "short"] == "-90: over 5" and "no reuse" not in table.index
    places = {"short": frontier.frontier(good["short"], SETTINGS, TIMES, resamples=100)}
    steps = buy_instead.steps_table(places, good, 0.95)
    assert steps.loc["2 denoising steps"].to_list() == ["short", "1.00 (1.00 to 1.00)", "100%"]


def test_every_row_has_one_interval_that_of_the_claim():
    records = {"short": study(99, 90), "long": study(100, 100)}
    places = {suite: frontier.frontier(rows, SETTINGS, TIMES, resamples=100) for suite, rows in records.items()}
    assert buy_instead.table(bought(records), records, MACHINES, 0.05).loc["2 denoising steps"].to_dict() == {
        "short": "-1: open", "long": "0: under 5", "cpu": "55%", "episode, cpu": "55%",
    }  # fmt: skip
    table = buy_instead.losses(places, records, 0.05, 0.95)
    assert table.columns.to_list() == ["suite", "points", "loss"] and len(table) == 4
    (row,) = table[(table.suite == "short") & (table.index == "2 denoising steps")].itertuples(index=False)
    assert row == ("short", "-1 (-5.4 to 3)", "open")


def test_longer_episodes_take_more_inference_in_the_table():
    """Of twice the control steps, each takes 55 %."""
    rows = made({NO_REUSE: [(True, 15, [False] * 4)] * 100, FEWER: [(True, 30, [False] * 8)] * 100})
    found = frontier.within_margin({"short": rows}, [NO_REUSE, FEWER], NO_REUSE, MACHINES)
    (row,) = buy_instead.table(found, {"short": rows}, MACHINES, 0.05)[["cpu", "episode, cpu"]].to_numpy().tolist()
    assert row == ["55%", "110%"]
    none = made({NO_REUSE: [(True, 15, [False] * 4)] * 100, FEWER: [(False, 30, [False] * 8)] * 100})
    found = frontier.within_margin({"short": none}, [NO_REUSE, FEWER], NO_REUSE, MACHINES)
    assert buy_instead.table(found, {"short": none}, MACHINES, 0.05)["episode, cpu"].to_list() == [""]


def test_suites_may_have_other_settings():
    records = {"short": study(100, 100), "long": study(100, 100)}
    places = {
        suite: frontier.frontier(records[suite], settings, TIMES, resamples=100)
        for suite, settings in (("short", SETTINGS), ("long", [NO_REUSE, FEWER]))
    }
    steps = buy_instead.steps_table(places, records, 0.95)
    assert steps.suite.to_list() == ["short", "short", "long"]


def lists(chapter: str, name: str):
    """What a chapter's parameter cell has."""
    (source,) = [
        c.source for c in jupytext.read(BOOK / f"{chapter}.md").cells if "parameters" in c.metadata.get("tags", [])
    ]
    exec(source, names := {})
    return names[name]


def test_the_further_trainings_are_those_of_across_policies():
    listed = {
        suite: [path.split("/")[-1] for path in paths]
        for suite, paths in lists("across_policies", "checkpoints").items()
    }
    assert listed == {suite: [CHECKPOINTS[suite].name, *again] for suite, again in trained_again.AGAIN.items()}
    assert lists("across_policies", "learned") == trained_again.LEARNED


def test_every_page_that_recommends_compares_settings_of_one_list():
    assert lists("buy_instead", "levers") == [*buy_instead.LEVERS] and lists("decide", "settings") == [
        *recommended.FIRST
    ]
    assert buy_instead.LEVERS[: len(recommended.FIRST)] == recommended.FIRST


def test_the_short_list_and_the_long_one_recommend_the_same():
    """As recorded: the start page says what *What to buy instead* says, and so does the README."""
    checkpoints = {"libero_spatial": "mini_spatial", "libero_10": "mini_libero_10"}
    lists = []
    for chosen in (recommended.FIRST, buy_instead.LEVERS):
        settings = (NO_REUSE, *map(parse_setting, chosen))
        studies = {
            suite: in_full(Study(DATA / "checkpoints" / name, settings, 100, Protocol(suite)))
            for suite, name in checkpoints.items()
        }
        shared = [s for s in settings if all(s in study.settings for study in studies.values())]
        records = {suite: study.read() for suite, study in studies.items()}
        found = frontier.within_margin(records, shared, NO_REUSE, {"cpu": latency("cpu")})
        choice = recommended.recommended(found, SecondSeed(tuple(studies.values())))
        lists.append([again.setting for again in choice.all])
    first, long = lists
    assert first == long and recommended.of_book(studies, latency("cpu"), 0.05, 0.95).confirmed
    readme = (ROOT / "README.md").read_text()
    assert all(f"**{tables.lever(setting)}**" in readme for setting in first)
