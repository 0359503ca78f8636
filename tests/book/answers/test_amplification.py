"""What is said of made distances by denoising step: other rates, other verdicts."""

import pandas as pd
import pytest

from kvlab.book.answers import amplification
from made import curves


def predicted(rate: float) -> amplification.Predictions:
    return amplification.predictions(curves(rate))


def added(rate: float) -> dict:
    return amplification.added_late(curves(rate))


@pytest.mark.parametrize(
    ("rate", "verdict", "title"),
    [
        (0.006, "supported", "more than"),
        (0.3, "supported", "more than"),
        (-0.1, "refuted", "less than"),
    ],
)
def test_amplification_is_told_by_its_rate(rate, verdict, title):
    found = predicted(rate)
    claim = amplification.finding(found, added(rate))
    assert claim.startswith(f"**Amplification at one exponential rate: {verdict}.** With everything kept")
    assert amplification.headline(found, added(rate)) == f"Each denoising step adds {title} the first"
    if rate == 0.3:
        assert "a rate of 0.300 (0.297 to 0.303)" in claim
        assert "The later half of the steps adds 4.48 (4." in claim


def test_a_rate_around_zero_shows_no_amplification():
    found = predicted(0.0001)
    claim = amplification.finding(found, added(0.0001))
    assert claim.startswith("**Amplification at one exponential rate: not shown.**")
    assert amplification.headline(found, added(0.0001)) == (
        "That the later half of the denoising steps adds more is not shown"
    )


def test_later_steps_that_add_more_are_said_where_no_rate_is_shown():
    found = predicted(0.0001)
    assert amplification.headline(found, added(0.3)) == (
        "The later half of the denoising steps adds more than the first half"
    )
    claim = amplification.finding(found, added(0.3))
    assert claim.startswith(
        "**Amplification at one exponential rate: not shown; but the later half of the denoising steps adds more than "
        "the first half.**"
    )
    one = {"full": added(0.0001)["full"], "prefix": added(0.3)["prefix"]}
    assert amplification.headline(found, one).endswith("than the first half with images and instruction kept")


def test_what_the_later_half_of_the_steps_adds_is_told_without_a_fit():
    def halves(measured: float, fitted: float) -> pd.DataFrame:
        return amplification.halves(predicted(fitted), added(measured))

    table = halves(0.3, 0.3)
    assert [*table.index] == [kept for kept in amplification.KEPT.values() for _ in range(2)]
    assert (
        table["times the first"].str.startswith("4.48 (4.").all() and [*table["one rate"]] == ["", "not ruled out"] * 2
    )
    assert halves(0.0001, 0.0001)["times the first"].str.startswith("1.00 (").all()
    assert [*halves(0.3, 0.0001)["one rate"]] == ["", "does not fit"] * 2
