"""What *Modality separation* says of made rows: other rows, other sentences."""

from functools import cache

import pytest

from kvlab.book.answers import modality_separation as answers
from kvlab.evidence import matching, summary
from kvlab.evidence.stats import Interval
from kvlab.study.settings import Setting
from made import TIMES, made

NO_REUSE, STRICT, LOOSE = Setting("none"), "vision >= 0.98", "vision >= 0.9"
SWEPT = [Setting("full", STRICT), Setting("full", "vision >= 0.95"), Setting("full", LOOSE)]
PREFIX, NEW, KEPT = (Setting(mode, LOOSE) for mode in ("prefix", "vision_only:splice", "vision_only:skip"))
FIXED = Setting("text_fixed:skip", LOOSE)


def outcome(k, reused, episodes=100):
    """`k` successes, spread over the tasks; `reused` of 4 replans reuse."""
    return [(n < k, 20, [r < reused for r in range(4)]) for n in range(episodes)]


@cache
def study(prefix=94, new=90, kept=30):
    """Records, `compare` and `matched`; `prefix` and `vision_only` reuse as often as `full` in the middle."""
    full = {s: outcome(k, reused) for s, k, reused in zip(SWEPT, (99, 50, 0), (1, 2, 3), strict=True)}
    others = {PREFIX: prefix, NEW: new, KEPT: kept, FIXED: 10}
    records = made({NO_REUSE: outcome(100, 0), **full, **{s: outcome(k, 2) for s, k in others.items()}})
    compared = summary.compare(records, [NO_REUSE, *SWEPT, *others], NO_REUSE)
    return records, compared, matching.matched(records, [PREFIX, NEW, KEPT], [NO_REUSE, *SWEPT], resamples=500)


def suites(*studies):
    """The same by suite: three dicts."""
    return tuple(dict(zip(("short", "long"), part, strict=False)) for part in zip(*studies, strict=True))


def said(*studies, margin=0.1) -> list[str]:
    records, compared, gained = suites(*studies)
    return answers.findings(compared, gained, answers.clocks(records, 0.95), records, margin, TIMES)


def test_a_fresh_robot_state_is_worth_what_the_rows_say():
    state = said(study())[0]
    assert state.startswith("**In `short` a fresh robot state helps.**")
    told = (
        "In `short`, where 50 % of replans reuse, it solves 44 points more than keeping everything behind image gates"
    )
    assert "state_only" not in state and f"{told} (" in state


def test_where_it_does_not_show_the_margin_is_named():
    state = said(study(), study(prefix=50))[0]
    assert state.startswith("**In `short` a fresh robot state helps.**") and "In `long`" in state
    assert said(study(prefix=50))[0].startswith("**A fresh robot state is not shown to help.**")
    assert said(study(prefix=48))[0].endswith(
        "2 points fewer than keeping everything behind image gates (6 fewer to 0); they differ by less than 10 points."
    )


@pytest.mark.parametrize(
    ("new", "lead"),
    [(90, "The instruction carries the images"), (30, "That the instruction carries images is not shown")],
)
def test_the_instruction_is_compared_over_the_same_kept_images(new, lead):
    words = said(study(new=new))[1]
    assert words.startswith(f"**{lead}.**") and f"{new} of 100 episodes succeed" in words
    assert words.endswith("An instruction kept from the start (`text_fixed`) leaves 10 at best.")


def test_keeping_only_the_robot_state_is_told_where_it_helps_too():
    state = Setting("state_only:skip", LOOSE)
    records = made(
        {NO_REUSE: outcome(100, 0), SWEPT[0]: outcome(99, 1), SWEPT[2]: outcome(0, 3), state: outcome(90, 2)}
    )
    gained = matching.matched(records, [state], [NO_REUSE, SWEPT[0], SWEPT[2]], resamples=500)
    (said,) = answers._state_alone({"short": gained})
    assert said.startswith("Fresh images help as well in `short`: `state_only` keeps") and said.endswith(" in `short`.")
    assert answers._state_alone({"short": gained.drop(state)}) == []
    alike = gained.assign(gain=[Interval(-0.08, -0.18, 0.03, 0.95, "made")])
    both = answers._state_alone({"short": gained, "long": alike})
    assert both[0] == said and both[1:] == [
        "It solves 8 points fewer than keeping everything (18 fewer to 3 more) in `long`."
    ]
    assert answers._state_alone({"long": alike})[0].startswith("Fresh images are not shown to help: `state_only` keeps")


def test_prefix_and_full_by_the_same_clock_stand_beside_each_other():
    by_clock = [Setting(mode, "every(2)") for mode in ("prefix", "full")]
    rows = made({NO_REUSE: outcome(100, 0)} | {one: outcome(k, 2) for one, k in zip(by_clock, (90, 60), strict=True)})
    apart = answers.clocks({"short": rows, "long": study()[0]}, 0.95)
    assert [*apart["short"]] == [tuple(by_clock)] and apart["long"] == {}
    records, compared, gained = suites(study())
    first = answers.findings(compared, gained, apart, records, 0.1, TIMES)[0]
    assert "With every(2) for both, it solves 30 points more than keeping everything (" in first
    table = answers.differences(gained, apart)
    assert table.iloc[-1].to_list()[:3] == ["prefix", "every(2)", "full, same gate"]
    assert table["compared with"].iloc[0] == "full behind image gates, equal reuse"


def test_modes_that_were_not_run_are_not_spoken_of():
    records, compared, gained = suites(study())
    assert answers.words(compared["short"].drop(NEW)) is None
    few = {"short": compared["short"].drop([NEW, FIXED])}
    assert len(answers.findings(few, gained, {}, records, 0.1, TIMES)) == 2
    with pytest.raises(ValueError, match="name it among the modes"):
        answers.bearable(compared["short"].drop(PREFIX), 0.1)


@pytest.mark.parametrize(
    ("prefix", "margin", "verdict"),
    [(94, 0.1, "that is open"), (60, 0.1, "it does"), (99, 0.1, "it does not"), (99, 0.02, "that is open")],
)
def test_what_prefix_loses_leads_the_claim_for_every_suite(prefix, margin, verdict):
    claim = said(study(prefix=prefix), study(prefix=99), margin=margin)[2]
    other = "it does not" if margin == 0.1 else "that is open"
    assert claim.startswith(
        f"**Does `prefix` lose over {100 * margin:.0f} points? In `short`, at 50 % of replans, {verdict}; in `long`, "
        f"at 50 % of replans, {other}.** With images ≥ 0.9 in `short` it solves"
    )
    assert "(a machine)" in claim


def test_the_bearable_setting_reuses_most_without_a_shown_loss_of_the_margin():
    strict = Setting("prefix", STRICT)
    records = made({NO_REUSE: outcome(100, 0), strict: outcome(97, 1), PREFIX: outcome(60, 3)})
    compared = summary.compare(records, [NO_REUSE, strict, PREFIX], NO_REUSE)
    assert answers.bearable(compared, 0.1) == strict
    assert answers.bearable(compared, 0.6) == PREFIX
    assert answers.bearable(compared.drop(strict), 0.1) == PREFIX  # none is: the one that reuses least


def test_the_title_says_how_many_episodes_the_state_saves():
    _, compared, gained = suites(study(), study(prefix=50))
    assert (
        answers.headline(compared, gained, 0.1)
        == "At equal reuse a fresh robot state saves 44 of 100 episodes in short (33 to 55)"
    )
    _, compared, gained = suites(study(prefix=50))
    assert answers.headline(compared, gained, 0.1) == "At equal reuse a fresh robot state is not shown to help"


def test_the_modes_say_what_they_keep_and_whether_that_saves_time():
    rows = answers.modes(["full", "prefix", "vision_only:splice"], TIMES)
    assert rows["robot state"].to_list() == ["kept", "fresh", "fresh"]
    assert rows["instruction"].to_list() == ["kept", "kept", "fresh, from new images"]
    assert rows["saves time?"].to_list() == ["20 of 73 ms", "16 of 73 ms", "no"]


def test_fresh_states_stand_first_and_each_group_goes_down():
    compared = study()[1]
    assert answers.ordered(compared, [SWEPT[2], KEPT, NEW]) == ["vision_only:splice", "vision_only:skip", "full"]


def test_tables_hold_what_the_claims_say():
    records, compared, gained = suites(study(), study())
    cells = answers.counts({suite: rows.loc[[PREFIX, NEW, FIXED]] for suite, rows in compared.items()})
    assert cells.loc["prefix"].to_dict() == {"images ≥ 0.9": "94 (50 %)", "long: images ≥ 0.9": "94 (50 %)"}
    assert cells.loc["text_fixed:skip", "images ≥ 0.9"] == "10 (75 %)"  # the instruction is kept at every later replan
    gap = summary.difference(study()[0], NEW, KEPT)
    rows = answers.differences(gained, {"short": {(NEW, KEPT): gap}})
    assert rows.iloc[-1].to_list()[0::2] == ["vision_only:splice", "vision_only:skip, same gate"]
    assert len(answers.prefixes(compared, records, TIMES)) == 2
