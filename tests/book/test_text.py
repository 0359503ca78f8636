"""Sentences that hold results: their grammar for none, one and many, and no sign without a value."""

import pytest

from kvlab.book import text
from kvlab.evidence import margins
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from kvlab.study.times import latency
from made import TIMES


@pytest.mark.parametrize(("many", "said"), [(0, "no episode"), (1, "1 episode"), (1600, "1,600 episodes")])
def test_a_count_has_its_noun(many, said):
    assert text.count(many, "episode") == said
    assert text.count(2, "boundary", "boundaries") == "2 boundaries"


@pytest.mark.parametrize(("items", "said"), [([], "none"), ([1], "1"), ([1, 2], "1 and 2"), ("abc", "a, b and c")])
def test_a_list_is_read_aloud(items, said):
    assert text.listed(items) == said


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([0.2], "supported"),
        ([0.2, 0.3], "supported"),
        ([-0.2, -0.3], "refuted"),
        ([0.0], "not shown"),
        ([0.2, 0.0], "not shown; 1 of 2 predictions holds"),
        ([0.0, 0.0], "not shown; none of 2 predictions holds"),
        ([0.2, 0.3, -0.2], "supported in part and refuted in part; 2 of 3 predictions hold"),
    ],
)
def test_a_verdict_says_how_many_predictions_hold_where_they_differ(effects, said):
    made = {str(n): Interval(at, at - 0.1, at + 0.1, 0.95, "made") for n, at in enumerate(effects)}
    assert text.verdict({says: Prediction(effect, side=1) for says, effect in made.items()}) == said


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ((-0.03, -0.08, 0.01), "3 points fewer than no reuse (8 fewer to 1 more)"),
        ((0.01, -0.08, 0.0), "1 point more than no reuse (8 fewer to 0)"),
        ((-0.36, -0.46, -0.27), "36 points fewer than no reuse (27 to 46)"),
        ((0.11, 0.02, 0.2), "11 points more than no reuse (2 to 20)"),
        ((-0.001, -0.1, 0.1), "as many as no reuse (10 fewer to 10 more)"),
        ((0.0, -0.049, 0.051), "as many as no reuse (4.9 fewer to 5.1 more)"),
        ((-0.06, -0.12, -0.003), "6 points fewer than no reuse (0.3 to 12)"),
        ((-0.06, -0.12, 0.003), "6 points fewer than no reuse (12 fewer to 0.3 more)"),
    ],
)
def test_a_difference_names_its_direction(bounds, said):
    assert text.difference(Interval(*bounds, 0.95, "tango"), "no reuse") == said


def test_where_nothing_is_said_nothing_is_shown():
    assert text.say() is None and text.say("", "") is None
    assert text.say("", "one", "", "two").data == "one\n\ntwo"


def test_an_answer_is_a_list_of_one_to_four():
    assert text.findings(["A.", "B."]).data == "1. A.\n2. B."
    for claims in ([], ["A."] * 5):
        with pytest.raises(ValueError, match=f"1 to 4 findings, got {len(claims)}"):
            text.findings(claims)


def test_no_share_is_a_negative_zero():
    assert text.percent(-0.001) == "0 %" and text.percent(0.214) == "21 %"


def test_what_is_planned_is_said_with_its_time(untrained, make_row, tmp_path):
    study = Study(untrained, (Setting("none"),), 2, Protocol(), folder=tmp_path)
    assert text.planned(study).startswith("Of `libero_spatial` 2 of 2 episodes would be run: about 1 min")
    for task in (0, 1):
        study.recording(Setting("none")).add(make_row(task=task))
    assert text.planned(study) == "The study has 2 episodes; all are recorded, and the next cell reads them."


def test_what_all_is_compared_with_comes_from_the_policy_and_the_protocol(untrained):
    said = text.compared(Study(untrained, (Setting("none"),), 1, Protocol(replan_every=3)), TIMES, latency("h100"))
    assert said.startswith(
        "**No reuse**, the policy's own setting, takes 2 denoising steps and executes the first 3 of the 8 actions of "
        "a chunk, at"
    )
    assert "`base` on one H100 is of the published size, with random weights" in said
    assert "random" not in text.compared(Study(untrained, (Setting("none"),), 1), TIMES)


def test_times_of_fewer_steps_are_said_to_be_measured_where_they_were(untrained):
    study = Study(untrained, (Setting("none"),), 1)
    computed = " Times of fewer denoising steps are computed from that of 10"
    assert text.compared(study).endswith(f"{computed}.") and text.compared(study, TIMES).endswith(f"{computed}.")
    assert text.compared(study, latency("cpu"), latency("h100")).endswith(
        f"{computed}; on one H100 those of 5, 2 and 1 were measured ([Inside the engine](engine.ipynb))."
    )


def test_the_words_on_decimals_name_the_margins_that_ends_are_written_by():
    assert "of 0, 5 or 10 points" in text.DECIMALS
    ends = [margins.bound(end) for end in (0.03, 0.0497, 0.05, 0.0999, 0.102, -0.002)]
    assert ends == ["3", "4.97", "5", "9.99", "10.2", "-0.2"]
