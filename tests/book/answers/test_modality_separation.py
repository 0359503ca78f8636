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
    assert state.startswith("**A fresh robot state helps in 1 of 1 comparison in `short`.**")
    told = "with images ≥ 0.9 (50 % of replans), it solves 44 points more than `full` behind image gates at equal reuse"
    assert "state_only" not in state and f"In `short`, {told} (" in state


def test_where_it_does_not_show_the_margin_is_named():
    state = said(study(), study(prefix=50))[0]
    lead = "helps in 1 of 1 comparison in `short` and in none of 1 comparison in `long`"
    assert state.startswith(f"**A fresh robot state {lead}.**")
    assert said(study(prefix=48))[0].endswith(
        "2 points fewer than `full` behind image gates at equal reuse (6 fewer to 0); they differ by less than 10 "
        "points."
    )


@pytest.mark.parametrize(
    ("new", "lead"),
    [(90, "The instruction carries the images"), (30, "That the instruction carries images is not shown")],
)
def test_the_instruction_is_compared_over_the_same_kept_images(new, lead):
    words = said(study(new=new))[1]
    assert words.startswith(f"**{lead}.**") and f"{new} of 100 episodes succeed" in words
    assert words.endswith("An instruction kept from the start (`text_fixed`) leaves 10 at best, behind images ≥ 0.9.")


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
    assert "In `short`, with every(2) for both, it solves 30 points more than `full` (" in first
    assert first.startswith("**A fresh robot state helps in 2 of 2 comparisons in `short`.**")
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


def test_a_clock_stands_beside_the_image_gate_at_equal_reuse():
    """`prefix` by a clock reuses as often as behind the image gate, and solves as many as `full` at that share."""
    clock = Setting("prefix", "every(2)")
    full = {s: outcome(k, reused) for s, k, reused in zip(SWEPT, (99, 50, 0), (1, 2, 3), strict=True)}
    records = made({NO_REUSE: outcome(100, 0), **full, PREFIX: outcome(94, 2), clock: outcome(50, 2)})
    compared = summary.compare(records, [NO_REUSE, *SWEPT, PREFIX, clock], NO_REUSE)
    gained = matching.matched(records, [PREFIX, clock], [NO_REUSE, *SWEPT], resamples=500)
    claim = answers.state({"short": compared}, {"short": gained}, {}, 0.05)
    assert claim.startswith("**A fresh robot state helps in 1 of 2 comparisons in `short`.**")
    assert "with every(2) (50 % of replans), it solves as many as `full` behind image gates at equal reuse (" in claim
    assert answers.state({"short": compared}, {"short": gained.drop([PREFIX, clock])}, {}, 0.05) is None


@pytest.mark.parametrize(
    ("prefix", "margin", "verdict"),
    [(94, 0.1, "open"), (60, 0.1, "yes"), (99, 0.1, "no"), (99, 0.02, "open")],
)
def test_what_prefix_loses_leads_the_claim_for_every_suite(prefix, margin, verdict):
    claim = said(study(prefix=prefix), study(prefix=99), margin=margin)[2]
    other = "no" if margin == 0.1 else "open"
    assert claim.startswith(
        f"**Does `prefix` lose over {100 * margin:.0f} points? `short`: {verdict} at 50 % of replans. `long`: {other} "
        "at 50 % of replans.** With images ≥ 0.9 in `short` it solves"
    )
    assert "(a machine)" in claim


def test_what_prefix_loses_is_told_at_every_turn_of_the_verdict():
    """Of five gates the loosest that loses little, the loosest that is open, and the strictest that loses much."""
    lost = {"0.99": (100, 1), "0.98": (99, 2), "0.97": (94, 3), "0.96": (60, 4), "0.95": (20, 5)}
    rows = {
        Setting("prefix", f"vision >= {t}"): [(n < k, 30, [r < reused for r in range(6)]) for n in range(100)]
        for t, (k, reused) in lost.items()
    }
    records = made({NO_REUSE: [(True, 30, [False] * 6)] * 100, **rows})
    compared = summary.compare(records, [NO_REUSE, *rows], NO_REUSE)
    claim = answers.prefix({"short": compared}, {"short": records}, 0.1, TIMES)
    lead = "no at 33 % of replans, open at 50 %, yes at 67 %"
    assert claim.startswith(f"**Does `prefix` lose over 10 points? `short`: {lead}.** With images ≥ 0.98 in `short` it")
    assert "With images ≥ 0.97 in `short` it solves 6 points fewer" in claim and "≥ 0.95" not in claim
    assert "With images ≥ 0.96 in `short` it solves 40 points fewer" in claim


def test_the_bearable_setting_reuses_most_without_a_shown_loss_of_the_margin():
    strict = Setting("prefix", STRICT)
    records = made({NO_REUSE: outcome(100, 0), strict: outcome(97, 1), PREFIX: outcome(60, 3)})
    compared = summary.compare(records, [NO_REUSE, strict, PREFIX], NO_REUSE)
    assert answers.bearable(compared, 0.1) == strict
    assert answers.bearable(compared, 0.6) == PREFIX
    assert answers.bearable(compared.drop(strict), 0.1) == PREFIX  # none is: the one that reuses least


def test_the_title_says_what_is_drawn():
    rows = study()[0]
    full = Setting("full", LOOSE)
    compared = {"short": summary.compare(rows, [NO_REUSE, full, PREFIX], NO_REUSE)}
    title = "Successes with a fresh robot state (prefix) and with everything kept (full): "
    one = "94 and 0 of 100 in short behind images ≥ 0.9"
    assert answers.headline(compared, [("short", LOOSE)]) == title + one
    assert answers.headline(compared, [("short", LOOSE)] * 2) == f"{title}{one}; {one}"


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
