"""What *3 or 100 episodes* says of made rows and made simulations: other rows, other sentences."""

from math import inf

import pandas as pd
import pytest

from kvlab.book import plots
from kvlab.book.answers import three_or_hundred as answers
from kvlab.evidence import ranking, summary
from kvlab.study.settings import Setting
from made import made

NO_REUSE, GOOD, BAD = Setting("none"), Setting("full", "vision >= 0.98"), Setting("full", "vision >= 0.9")
FOUND = answers.smallest([3, 10, 100], 0.95)
RATES = pd.DataFrame(
    [(10, 0.3, "these tasks", "clopper_pearson", 0.97), (10, 0.3, "these tasks", "stratified", 0.7)]
    + [(10, 0.3, "new tasks", "clopper_pearson", 0.57), (10, 0.3, "new tasks", "stratified", 0.5)]
    + [(10, icc, which, "clopper_pearson", 0.1) for icc in (0.0, 0.5) for which in ("these tasks", "new tasks")]
    + [(10, 0.5, "these tasks", "stratified", 0.2)],  # other correlations than the page shows
    columns=["tasks", "icc", "target", "method", "coverage"],
)


def study(*successes):
    settings = dict(zip((NO_REUSE, GOOD, BAD), successes, strict=True))
    return made({setting: [(n < k, 15, [False] * 3) for n in range(100)] for setting, k in settings.items()})


def said(*successes, found=FOUND) -> list[str]:
    records, settings = study(*successes), [NO_REUSE, GOOD, BAD]
    few, many = answers.both(records, settings, 0.95, 3)
    pilots = ranking.of_pilots(ranking.rankings(records, settings, [3, 10]))
    return answers.findings(found, 0.95, RATES, few, many, pilots)


def test_how_many_episodes_is_answered_first():
    assert list(FOUND.loc[3, [answers.SAME, answers.LUCK]]) == [inf, inf]
    claim = said(100, 97, 5)[0]
    assert claim.startswith("**100 episodes: they find a drop of 13 points, 3 only a drop of 93 points.**")
    assert claim.endswith(
        "On the same episodes, as in simulation, 100 find a drop of 8 points, or a drop of 14 points where luck flips "
        "5 % of the outcomes. So a loss of 5 points often stays open."
    )
    nothing = FOUND.assign(**{answers.ROBOT: inf})
    assert said(100, 97, 5, found=nothing)[0].startswith("**100 episodes: they find no drop at all, 3 none.**")
    assert "stays open" not in said(100, 97, 5, found=FOUND.assign(**{answers.SAME: 4.0}))[0]


def test_the_bootstrap_collapses_by_its_own_chances():
    """At 95 % a pilot of 3 ends as 3 of 3 with chance 0.857: only then is the interval the point 1, which misses."""
    claim = said(100, 97, 5)[1]
    assert (
        "It holds the truth" not in claim and "the pooled one holds the truth in 14 % of studies of 3 episodes" in claim
    )
    assert "Wilson's interval does in 86 % and the exact one in 99 %." in claim
    assert claim.endswith("By the exact one, the true rate behind 3 of 3 may be as low as 29 %.")
    table = answers.side_by_side(3, 0.95)
    assert list(table["bootstrap, pooled"]) == ["0 to 0", "0 to 100", "0 to 100", "100 to 100"]
    assert list(table.loc["3 of 3"]) == ["29 to 100", "44 to 100", "100 to 100"]


def test_the_safe_interval_is_told_by_the_simulation():
    claim = said(100, 97, 5)[2]
    assert "in at least 97 % of simulated studies. That bootstrap does so in as few as 70 %" in claim
    assert (
        "by the exact one in as few as 57 %" in claim
        and "In 3 settings their bounds, of the bootstrap within tasks, differ" in claim
    )
    title = answers.coverage_title(RATES, 3)
    least = "With 3 episodes the bootstrap holds the truth in as few as 3 % of studies"
    assert title == f"{least}; about new tasks no interval does so in 90 % at every rate"
    assert answers.coverage_title(RATES.assign(coverage=0.95), 3).endswith(
        "about new tasks some interval does in 90 % at every rate"
    )


def test_pilots_are_told_apart_from_what_all_episodes_decide():
    claim = said(100, 97, 5)[3]
    assert claim.startswith(
        "**A random pilot of 3 ranks 100 % of 2 pairs right that all episodes tell apart and names a winner in 9 % of "
        "1 pair that they do not tell apart.**"
    )
    assert "equal successes" not in claim
    assert said(100, 97, 97)[3].endswith(" The other 1 pair of 3 has equal successes.")
    decided = said(100, 50, 0)[3]
    assert "of 3 pairs right" in decided and "do not tell" not in decided
    alike = said(100, 99, 98)[3]
    assert "right that" not in alike and "names a winner in" in alike


@pytest.mark.parametrize("safest", [True, False])
def test_the_exact_interval_is_called_right_most_often_only_where_it_is(safest):
    few, many = answers.both(study(100, 97, 5), [NO_REUSE, GOOD, BAD], 0.95, 3)
    rates = RATES if safest else RATES.replace({0.7: 0.98})
    assert ("and the exact one is right most often.**" in answers._agree(many, rates)) == safest


def test_the_order_of_pairs_is_a_table_of_chances():
    settings = [NO_REUSE, GOOD, BAD]
    table = answers.orders(ranking.of_pilots(ranking.rankings(study(100, 97, 5), settings, [3, 10])))
    assert table.to_html().split("</thead>")[0].count("<tr") == 1
    assert table.loc[("not told apart", "3 episodes"), "pairs"] == 1
    assert table.loc[("told apart by all episodes", "3 episodes"), "level"] == "0.0"


def test_collapsed_pilots_are_counted():
    claim = answers.collapsed(*answers.both(study(100, 97, 2), [NO_REUSE, GOOD, BAD], 0.95, 3))
    assert "within tasks has no width in 3 of 3 pilots, since each task has one episode. An exact interval is" in claim
    assert claim.endswith("up to 90 points wide after 3 episodes, and up to 8 after 100.")


def test_three_episodes_in_all_are_not_told_as_many():
    records, settings = summary.first(study(100, 97, 0), 3), [NO_REUSE, GOOD, BAD]
    few, many = answers.both(records, settings, 0.95, 3)
    pilots = ranking.of_pilots(ranking.rankings(records, settings, [3]))
    power, _, agree, last = answers.findings(FOUND, 0.95, RATES, few, many, pilots)
    assert power.startswith("**3 episodes find only a drop of 93 points.** Each finds it four times in five, from 95 %")
    assert agree.startswith("**With 3 episodes the three do not agree") and "that they do not tell apart.**" in last


@pytest.mark.parametrize("wilson", [True, False])
def test_wilson_is_drawn_where_it_is_given(wilson):
    few, many = answers.both(study(100, 97, 5), [NO_REUSE, GOOD, BAD], 0.95, 3)
    tables = [table if wilson else table.drop(columns="wilson") for table in (few, many)]
    fig = plots.three_or_hundred(["a", "b", "c"], *tables)
    assert [t.get_text() for t in fig.legends[0].texts] == ["exact", *["Wilson"] * wilson, "bootstrap"]


def test_the_title_names_what_few_and_many_find():
    assert answers.headline(FOUND) == (
        "What a study on a robot can find: with 3 episodes a drop of 93 points, with 100 a drop of 13 points"
    )
    assert list(answers.drops(FOUND).loc[3]) == ["93", "none", "none"]


def test_a_difference_is_told_where_no_pair_differs():
    """0 of 100 pairs differ: Tango's bound is z^2 / (n + z^2), 3.7 points."""
    rows = [("tango", 0.94), ("percentile", 0.4), ("stratified", 0.35)]
    made_up = pd.DataFrame(rows, columns=["method", "coverage"]).assign(tasks=10, target="these tasks")
    said = answers.paired(100, 0.95)
    assert said.endswith("the bootstrap says nothing; by Tango's interval a drop of 4 points is still possible.")
    least = answers.least_coverage(made_up)["holds, at least"].to_dict()
    assert least == {"Tango": "94 %", "bootstrap, pooled": "40 %", "bootstrap, within tasks": "35 %"}
