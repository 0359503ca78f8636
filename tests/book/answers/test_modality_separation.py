"""What *Modality separation* says of made rows: other rows, other sentences."""

from functools import cache
from types import SimpleNamespace

import pytest

from kvlab.book.answers import modality_separation as answers
from kvlab.evidence import matching, summary
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
    return answers.findings(compared, gained, {}, records, margin, TIMES, {})


@pytest.mark.parametrize(
    ("new", "lead"),
    [(90, "The instruction carries the images"), (30, "That the instruction carries images is not shown")],
)
def test_the_instruction_is_compared_over_the_same_kept_images(new, lead):
    words = said(study(new=new))[1]
    assert words.startswith(f"**{lead}.** In `short`, with the images kept (`vision_only`, images ≥ 0.9) and the")
    than = "with it computed from the kept ones"
    points = {90: f"60 points more than {than} (", 30: f"as many as {than} ("}
    assert f"computed from new ones {new} of 100 episodes succeed: {points[new]}" in words


def test_modes_that_were_not_run_are_not_spoken_of():
    records, compared, gained = suites(study())
    assert answers.words(compared["short"].drop(NEW)) is None
    few = {"short": compared["short"].drop(NEW)}
    assert len(answers.findings(few, gained, {}, records, 0.1, TIMES, {})) == 2
    with pytest.raises(ValueError, match="name it among the modes"):
        answers.bearable(compared["short"].drop(PREFIX), 0.1)


@pytest.mark.parametrize(
    ("prefix", "margin", "verdict"),
    [(97, 0.05, "open"), (60, 0.1, "yes"), (99, 0.1, "no"), (99, 0.02, "open"), (94, 0.1, "a loss, its size open,")],
)
def test_what_prefix_loses_leads_the_claim_for_every_suite(prefix, margin, verdict):
    claim = said(study(prefix=prefix), study(prefix=99), margin=margin)[2]
    other = "no" if margin == 0.1 else "open"
    assert claim.startswith(
        f"**Does `prefix` lose over {100 * margin:.0f} points behind image gates? `short`: {verdict} at 50 % of "
        f"replans. `long`: {other} at 50 % of replans.** With images ≥ 0.9 in `short` it solves"
    )
    assert claim.endswith("; a machine). More in [What it saves](saves.ipynb).")


def test_time_is_not_spoken_of_where_no_episode_is_solved_both_with_and_without_reuse():
    records = made({NO_REUSE: outcome(0, 0), PREFIX: outcome(94, 2)})
    compared = summary.compare(records, [NO_REUSE, PREFIX], NO_REUSE)
    claim = answers.prefix({"short": compared}, {"short": records}, 0.1, TIMES)
    assert "inference" not in claim and claim.endswith("). More in [What it saves](saves.ipynb).")


def test_what_prefix_loses_is_told_at_every_turn_of_the_verdict_and_of_image_gates_alone():
    """Of five gates the loosest that loses little, the loosest of open size, and the strictest that loses much."""
    lost = {"0.99": (100, 1), "0.98": (99, 2), "0.97": (94, 3), "0.96": (60, 4), "0.95": (20, 5)}
    rows = {
        Setting("prefix", f"vision >= {t}"): [(n < k, 30, [r < reused for r in range(6)]) for n in range(100)]
        for t, (k, reused) in lost.items()
    }
    rows[Setting("prefix", "every(2)")] = [(n < 10, 30, [True, False] * 3) for n in range(100)]
    records = made({NO_REUSE: [(True, 30, [False] * 6)] * 100, **rows})
    compared = summary.compare(records, [NO_REUSE, *rows], NO_REUSE)
    claim = answers.prefix({"short": compared}, {"short": records}, 0.1, TIMES)
    lead = "no at 33 %, a loss, its size open, at 50 %, yes at 67 % of replans"
    assert claim.startswith(f"**Does `prefix` lose over 10 points behind image gates? `short`: {lead}.** With images")
    assert "With images ≥ 0.97 in `short` it solves 6 points fewer" in claim


@pytest.mark.parametrize(
    ("solved", "lead"),
    [(40, "At equal cost the clock does better, since"), (95, "At about equal inference per control step: in")],
)
def test_a_clock_is_compared_with_the_image_gate_that_costs_as_much(solved, lead):
    """Of 71 ms a gate that looks saves less by each reuse: it reuses more often for the same mean."""
    clock, gate, cheaper = Setting("prefix", "every(2)"), Setting("prefix", LOOSE), Setting("prefix", STRICT)
    rows = {NO_REUSE: outcome(100, 0), clock: outcome(95, 2), gate: outcome(solved, 3), cheaper: outcome(10, 0)}
    records = made(rows)
    compared = summary.compare(records, [*rows], NO_REUSE)
    said = answers.at_equal_cost({"short": compared}, {"short": records}, TIMES)
    assert said.startswith(lead) and "in `short` every(2) solves " in said
    assert said.endswith("55 points more than behind images ≥ 0.9 (45 to 64).") == (solved == 40)
    assert answers.at_equal_cost({"short": compared.drop(gate)}, {"short": records}, TIMES) == ""


def test_a_second_seed_that_leaves_open_what_the_first_shows_is_told():
    _, compared, _ = suites(study(prefix=99))

    class Second:
        def of(self, setting):
            assert setting == PREFIX
            return SimpleNamespace(verdict=self.verdict, missing="by a second seed a loss of 10 points is open")

    second = Second()
    for second.verdict, told in (
        ("undecided", ["With images ≥ 0.9, by a second seed a loss of 10 points is open."]),
        ("inside", []),
        (None, []),
    ):
        assert answers.again(compared, 0.1, {"short": second}) == told


def test_the_bearable_setting_reuses_most_without_a_shown_loss_of_the_margin():
    strict = Setting("prefix", STRICT)
    records = made({NO_REUSE: outcome(100, 0), strict: outcome(97, 1), PREFIX: outcome(60, 3)})
    compared = summary.compare(records, [NO_REUSE, strict, PREFIX], NO_REUSE)
    assert answers.bearable(compared, 0.1) == strict
    assert answers.bearable(compared, 0.6) == PREFIX
    assert answers.bearable(compared.drop(strict), 0.1) == PREFIX  # none is: the one that reuses least


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
    assert len(answers.prefixes(compared, records, TIMES)) == 2
