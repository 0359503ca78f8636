"""What *Across policies* says of made rows: other rows, other sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import across_policies as answers
from kvlab.book.answers import forest, further, stated
from kvlab.book.answers.buy_instead import LEVERS
from kvlab.book.answers.stated import Policies
from kvlab.book.recorded import comparable
from kvlab.evidence.policies import OPEN, held
from kvlab.evidence.stats import Interval
from kvlab.evidence.verdicts import Prediction
from kvlab.paths import BOOK, CHECKPOINTS
from kvlab.study.records import Records
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from made import made

NO_REUSE, FEWER, FULL, PREFIX, BLACK = (
    Setting("none"),
    Setting("none", denoising_steps=2),
    Setting("full", "every(2)"),
    Setting("prefix", "every(2)"),
    Setting("none", seeing="black"),
)
STATED = stated.stated(
    {
        "buy_instead": ["none steps=2 loses under the margin", "full when every(2) loses over the margin"],
        "decide": ["prefix when every(2) beats full when every(2)"],
    },
    0.05,
)
ONE, LOST, MORE = STATED
BUY, DECIDE = "[What to buy instead](buy_instead.ipynb)", "[Decide for your own policy](decide.ipynb)"
S, L = "libero_spatial", "libero_10"


def policy(no_reuse: int = 90, suite: str = S, **solved: int) -> Records:
    """Of a hundred episodes of each setting so many are solved, the first ones."""
    named = {"fewer": FEWER, "full": FULL, "prefix": PREFIX, "black": BLACK}
    counts = {NO_REUSE: no_reuse} | {named[name]: k for name, k in solved.items()}
    return made(
        {setting: [(n < k, 100, [False, setting.mode != "none"]) for n in range(100)] for setting, k in counts.items()},
        suite,
    )


LIKE = {"fewer": 90, "full": 40, "prefix": 80, "black": 5}  # all three findings hold
OTHER = {"fewer": 60, "full": 90, "prefix": 70, "black": 5}  # all three fail


def some(records: dict[str, Records]) -> Policies:
    suites = {name: rows.episodes["suite"].iloc[0] for name, rows in records.items()}
    return Policies(records, suites, stated.learned(records, 0.2, 0.95))


def judged(records: dict[str, Records]) -> tuple[stated.Judged, Policies]:
    policies = some(records)
    return stated.counted(stated.judge(STATED, policies, 0.95), policies), policies


def said(records: dict[str, Records]) -> tuple[list[str], pd.DataFrame]:
    counts, policies = judged(records)
    return answers.findings(counts, policies, 0.95), answers.verdicts(counts, policies)


def test_findings_are_read_as_they_are_stated():
    assert [str(finding) for finding in STATED] == [
        "2 denoising steps: under 5 points lost",
        "everything kept, every(2): over 5 points lost",
        "images, instruction kept, every(2): more solved than with everything kept, every(2)",
    ]
    assert [finding.link for finding in STATED] == [BUY, BUY, DECIDE]
    assert stated.asked(STATED) == (NO_REUSE, BLACK, FEWER, FULL, PREFIX)


@pytest.mark.parametrize(
    ("findings", "error"),
    [
        (
            {"no_chapter": ["none steps=2 loses under the margin"]},
            "no chapter is called 'no_chapter'; there are intro,",
        ),
        ({"decide": ["none steps=2 is good"]}, "`SETTING beats SETTING`; got 'none steps=2 is good'"),
        ({"decide": ["nothing beats none"]}, "nothing"),
    ],
)
def test_a_finding_that_cannot_be_read_is_refused(findings, error):
    with pytest.raises(ValueError, match=error):
        stated.stated(findings, 0.05)


def test_an_effect_is_the_paired_difference_of_the_same_policy():
    found, _ = judged({"a": policy(**LIKE), "b": policy(80, **LIKE)})
    assert [found[LOST][name].effect.estimate for name in "ab"] == pytest.approx([-0.5, -0.4])
    assert found[MORE]["a"].effect.estimate == pytest.approx(0.4)
    assert all(isinstance(one, Prediction) and one.holds for one in found[LOST].values())


def test_without_a_further_training_nothing_is_tested():
    found, table = said({"a": policy(**LIKE), "b": policy(suite=L, **LIKE)})
    assert found == [
        "**No further training is recorded: one policy a suite.** So 3 findings of other chapters rest on one training "
        "a suite, and policy and suite cannot be told apart. Under 5 points lost: 2 denoising steps "
        f"({BUY}). Over 5 points lost: everything kept, every(2) ({BUY}). More solved than with everything kept, "
        f"every(2): images, instruction kept, every(2) ({DECIDE}).",
        "**What a further training would give is not known.** A mean over policies and its range for a further one "
        "need at least 3 policies of one suite that ran a finding; here there is 1 policy at most.",
    ]
    assert table.loc[str(ONE)].tolist() == ["not trained again", "", "", "2 of 2"]
    assert "were recorded, of which there is none yet. Two rules" in answers.beforehand(some({"a": policy(**LIKE)}))
    (alone, _), _ = said({"a": policy(**LIKE)})
    assert "findings of other chapters rest on one training a suite. Under" in alone


def test_what_no_first_policy_shows_is_a_conjecture():
    found, table = said({"a": policy(**LIKE | {"fewer": 87}), "b": policy(suite=L, **LIKE | {"fewer": 87})})
    assert "So 2 findings of other chapters rest on" in found[0] and "2 denoising steps" not in found[0]
    assert [*table.index] == [str(LOST), str(MORE), f"conjecture: {ONE}"]
    assert table.iloc[-1].tolist() == ["not trained again", "", "", "0 of 2"]
    first, later = policy(**LIKE | {"fewer": 87}), policy(**LIKE)
    found, table = said({"a": first, "b": later})
    assert "2 of 2 findings hold in all that ran them" in found[0]
    assert table.loc[f"conjecture: {ONE}"].tolist() == ["holds in all", "1 of 1", "1 of 2"]


def test_a_finding_of_one_suite_is_judged_there_alone():
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(suite=L, **LIKE | {"fewer": 87})}
    counts, policies = judged(records)
    assert [*stated.claims(counts, policies)[ONE]] == ["a", "b"] and [*counts[ONE]] == ["a", "b", "c"]
    found, table = said(records)
    assert f"Under 5 points lost: 2 denoising steps, in `{S}` (1 of 1) ({BUY})." in found[0]
    assert table.loc[str(ONE)].to_dict() == {
        "verdict": "holds in all", S: "1 of 1", L: "", "with the first": "2 of 2",
    }  # fmt: skip
    assert forest.wrapped(ONE, counts, policies).endswith("under 5 points lost, in\nlibero_spatial")
    assert forest.wrapped(LOST, counts, policies).endswith("every(2)\nover 5 points lost")
    gated = stated.Finding(Setting("full", "vision >= 0.97"))
    assert "kept,\nimages\N{NO-BREAK SPACE}≥\N{NO-BREAK SPACE}0.97\n" in forest.wrapped(gated, counts, policies)


def test_what_holds_in_all_is_told_with_how_many_trainings_there_are():
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(suite=L, **LIKE), "d": policy(suite=L, **LIKE)}
    found, table = said(records)
    counts, policies = judged(records)
    assert policies.further == ["b", "d"]
    assert answers.headline(counts, policies) == (
        f"1 further training of {S} and 1 of {L}: 3 of 3 findings hold in all that ran them"
    )
    assert found[0].startswith(
        f"**1 further training of {S} and 1 of {L}: 3 of 3 findings hold in all that ran them.** "
        f"Under 5 points lost: "
        f"2 denoising steps (2 of 2) ({BUY}). Over"
    )
    assert table.loc[str(ONE)].tolist() == ["holds in all", "1 of 1", "1 of 1", "4 of 4"]
    assert "further policies were recorded. Two rules are later" in answers.beforehand(policies)
    found, _ = said({name: records[name] for name in "abc"})
    assert found[0].startswith(f"**1 further training of {S}: 3 of 3 findings hold in all that ran them.** Under")


def test_a_finding_of_a_suite_that_was_not_trained_again_is_not_counted_as_tested():
    records = {"a": policy(**LIKE | {"fewer": 87}), "b": policy(**LIKE), "c": policy(suite=L, **LIKE)}
    found, table = said(records)
    assert found[0].startswith(f"**1 further training of {S}: 2 of 2 findings hold in all that ran them.**")
    assert table.loc[str(ONE)].tolist() == ["not trained again", "no finding: 1 of 1", "", "1 of 1"]


def test_a_further_training_without_the_settings_tests_nothing():
    found, _ = said({"a": policy(**LIKE), "b": policy()})
    assert found[0].startswith(
        "**1 further training, by which no finding can be judged.** Of "
        "`b` no setting that a finding is about is recorded in full, so that none is judged there."
    )
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(suite=L, **LIKE), "d": policy(suite=L)}
    found, table = said(records)
    assert f"**1 further training of {S}: 3 of 3 findings hold in all that ran them.** Of `d` no" in found[0]
    assert table.to_numpy().tolist() == [["holds in all", "1 of 1", "", "3 of 3"]] * 3


def test_the_first_policy_counts_in_no_verdict():
    """It shows what was found in it: one that holds and one that is open leave a finding undecided without it."""
    open_, held_ = policy(**LIKE | {"fewer": 87}), policy(**LIKE)
    found, table = said({"a": held_, "b": held_, "c": open_})
    assert "2 of 3 findings hold in all" in found[0]
    assert found[1] == f"**1 finding is not decided.** Under 5 points lost: 2 denoising steps (1 of 2) ({BUY})."
    assert table.loc[str(ONE)].tolist() == ["not decided", "1 of 2", "2 of 3"]


def test_what_holds_or_fails_in_most_names_the_policies_that_fail():
    good, bad = policy(**LIKE), policy(**OTHER)
    found, table = said({"a": good, "b": good, "c": good, "d": bad})
    assert found[0].startswith(f"**3 further trainings of {S}: none of 3 findings hold in all that ran them.**")
    assert found[1].startswith(
        f"**3 findings hold in most.** Under 5 points lost: 2 denoising steps (2 of 3, fails in `d`) ({BUY}). Over"
    )
    assert table.loc[str(ONE)].tolist() == ["holds in most", "2 of 3, fails in d", "3 of 4, fails in d"]
    found, _ = said({name: good for name in "abc"} | {"d": policy(**LIKE | {"fewer": 87})})
    assert found[1] == f"**1 finding holds in most.** Under 5 points lost: 2 denoising steps (2 of 3) ({BUY})."
    found, _ = said({"a": good, "b": bad, "c": bad})
    assert found[1].startswith("**3 findings fail in most.**")
    assert "2 denoising steps (0 of 2, fails in `b` and `c`)" in found[1]
    mixed = policy(**OTHER | {"full": 40, "prefix": 80})
    found, _ = said({"a": good, "b": mixed, "c": mixed})
    assert found[1].startswith("**1 finding fails in most.** Under 5 points lost: 2 denoising steps")


def test_where_policies_are_split_nothing_is_decided():
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(**OTHER)}
    found, table = said(records)
    counts, policies = judged(records)
    assert {held(stated.again(one, policies)) for one in counts.values()} == {OPEN}
    assert found[1].startswith("**3 findings are not decided.** Under 5")
    assert table.loc[str(ONE)].tolist()[:2] == ["not decided", "1 of 2, fails in c"]


def test_an_answer_has_four_findings_at_most():
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(**LIKE | {"fewer": 87, "full": 90, "prefix": 95})}
    counts, policies = judged(records | {"weak": policy(8, **LIKE)})
    found = answers.findings(counts, policies, 0.95, "advice")
    assert len(found) == 4 and found[1] == "advice" and "not decided" in found[2] and "`weak`" in found[3]


def test_what_has_its_verdict_elsewhere_is_in_no_list_of_the_others():
    """Of the recommendation there is one verdict."""
    records = {"a": policy(**LIKE), "b": policy(**LIKE | {"full": 90}), "c": policy(**LIKE | {"fewer": 87})}
    counts, policies = judged(records)
    found = answers.findings(counts, policies, 0.95, "advice", [ONE])
    assert found[1] == "advice"
    assert found[2].startswith("**2 other findings are not decided.** Over 5 points lost: everything kept, every(2) (1")
    assert not any("2 denoising steps" in said for said in found[2:])
    assert found[3].startswith(f"**In a further policy of `{S}` none of 2 other findings is shown to hold, the first")


def test_a_further_policy_is_told_from_three_on():
    """With three there is one degree of freedom, so that a loss under the margin is not foretold; with ten it is."""
    found, _ = said({name: policy(**LIKE) for name in "abcdefghij"})
    assert found[-1] == (
        f"**In a further policy of `{S}` 3 of 3 findings are shown to hold, the first policies counted.**"
    )
    records = {name: policy(**LIKE) for name in "abc"}
    told = said(records)[0][-1]
    assert told.startswith(f"**In a further policy of `{S}` 2 of 3 findings are shown to hold, the first")
    assert told.endswith("** Each other range crosses its margin.")
    expected = further.means(*judged(records), 0.95).loc[(str(LOST), S), "a further policy"]
    low, high = map(int, expected.split(" to "))
    assert low < -50 < high < -5
    spread = {name: policy(**LIKE | {"full": full}) for name, full in zip("abc", (5, 45, 85), strict=True)}
    assert said(spread)[0][-1].startswith(f"**In a further policy of `{S}` none of 3 findings")
    table = further.means(*judged(records), 0.95)
    assert table.loc[(str(ONE), S), ["policies", "spread"]].tolist() == ["3", "0"] and len(table) == 3


def test_a_range_beyond_its_margin_is_told_from_one_that_crosses_it():
    above, across = (Prediction(Interval(0.1, low, 0.2, 0.95, ""), -1) for low in (0.05, -0.05))
    below = Prediction(Interval(-0.1, -0.2, -0.05, 0.95, ""), -1)
    assert answers._left_open([below]) == ""
    assert answers._left_open([below, across]) == " Each other range crosses its margin."
    assert answers._left_open([below, across, above]) == " 1 of the other 2 ranges lies beyond its margin."


def test_a_further_policy_is_judged_on_its_own_suite_alone():
    """What would hold over both suites together is said of neither; a suite with too few policies is named."""
    records = {name: policy(**LIKE) for name in "ab"} | {"c": policy(suite=L, **LIKE), "d": policy(suite=L, **LIKE)}
    found, _ = said(records)
    assert (
        "**What a further training would give is not known.**" in found[-1] and "here there are 2 policies" in found[-1]
    )
    assert further.means(*judged(records), 0.95).empty
    found, _ = said(records | {"e": policy(**LIKE)})
    assert found[-1].startswith(f"**In a further policy of `{S}` 2 of 3 findings are shown to hold, the first")
    assert found[-1].endswith(f"Of `{L}` that cannot be judged: it takes 3 policies that ran a finding.")
    found, _ = said(records | {"e": policy(**LIKE), "f": policy(suite=L, **LIKE)})
    assert f"**In a further policy of `{L}` 2 of 3 findings are shown to hold, in one of `{S}` 2 of 3, the" in found[-1]


def test_policy_and_suite_are_told_apart_by_three_policies_in_each():
    few = {name: policy(**LIKE) for name in "abc"} | {"d": policy(suite=L, **LIKE), "e": policy(suite=L, **LIKE)}
    told = further.suite_or_training(*judged(few), 0.95)
    assert told.startswith("**Policy and suite cannot be told apart.** That takes 3 policies that have learned and ran")
    apart = few | {name: policy(suite=L, **LIKE | {"full": 70}) for name in "def"}
    told = further.suite_or_training(*judged(apart), 0.95)
    assert told == "**In 2 of 3 effects the suites are shown to differ.**"
    table = further.means(*judged(apart), 0.95).loc[str(LOST)]
    assert table.index.tolist() == [L, S, f"{L} minus {S}"] and table["policies"].tolist() == ["3", "3", ""]
    assert table["mean, points"].str.split().str[0].tolist() == ["-20", "-50", "30"]
    alike = few | {"f": policy(suite=L, **LIKE)}
    assert "**In none of 3 effects the suites are shown to differ.**" in further.suite_or_training(*judged(alike), 0.95)
    assert further.means(*judged({"a": few["a"]}), 0.95).empty


def test_a_range_ends_where_no_difference_can_be():
    spread = {name: policy(**LIKE | {"full": full}) for name, full in zip("abc", (0, 45, 90), strict=True)}
    table = further.means(*judged(spread), 0.95)
    assert table.loc[(str(LOST), S), "a further policy"] == "-100 to 100"


def test_a_policy_that_did_not_learn_is_reported_and_counts_in_nothing():
    records = {"a": policy(**LIKE), "weak": policy(8, **dict.fromkeys(LIKE, 8)), "half": policy(26, **LIKE)}
    assert stated.learned(records, 0.2, 0.95) == {"a": "yes", "weak": "no", "half": "not shown"}
    found, _ = said(records)
    counts, policies = judged(records)
    assert [*counts[ONE]] == ["a"] and found[0].startswith(
        "**2 further trainings, by which no finding can be judged.**"
    )
    assert "`weak` is not shown to have learned `libero_spatial`, and counts in no finding: without reuse" in found[-1]
    assert "it solves 8 of 100." in found[-1] and "it solves 26 of 100." in found[-1]
    everywhere = stated.judge(STATED, policies, 0.95)
    labels, intervals, looks, means = forest.rows(ONE, everywhere, counts, policies, 0.95)
    assert labels == ["a (first)", "weak*", "half*"] and looks == [S, "unjudged", "unjudged"] and means == {}
    assert intervals[1].estimate == 0
    assert forest.drawn(everywhere, counts, policies) == STATED
    assert forest.below(everywhere, counts, policies, 0.95).splitlines() == [
        "points, compared with no reuse or what is named",
        "a grey one is not judged",
        "* not shown to have learned, counts in no finding",
    ]


def test_where_none_has_learned_nothing_is_judged_and_all_is_drawn():
    records = {"weak": policy(8, **dict.fromkeys(LIKE, 8))}
    (only,) = said(records)[0]
    assert only.startswith("**No policy is shown to have learned its suite.** So no finding is judged. `weak` is not")
    counts, policies = judged(records)
    assert counts == {} and forest.drawn(stated.judge(STATED, policies, 0.95), counts, policies) == STATED


def test_a_setting_that_a_policy_lacks_is_left_out_there():
    records = {name: policy(**LIKE) for name in ("a", "b", "mini_c")} | {"d": policy(fewer=90)}
    found, table = said(records)
    counts, policies = judged(records)
    assert [*counts[ONE]] == [*records] and [*counts[LOST]] == ["a", "b", "mini_c"]
    assert found[0].startswith(f"**3 further trainings of {S}: 3 of 3 findings hold in all that ran them.**")
    assert table[S].tolist() == ["3 of 3", "2 of 2", "2 of 2"]
    labels, intervals, looks, means = forest.rows(LOST, counts, counts, policies, 0.95)
    assert labels == ["a (first)", "b", "c", "d", "a: mean"] and looks[:3] == [S] * 3 and looks[3] == "unjudged"
    assert intervals[3] is None and intervals[4] is None and means[4].further.low < -0.5 < means[4].further.high
    everywhere = stated.judge(STATED, policies, 0.95)
    assert forest.below(everywhere, counts, policies, 0.95).splitlines() == [
        "points, compared with no reuse or what is named",
        "an empty row is not recorded",
        "mean: thick; a further policy: thin, and may leave its panel",
    ]


def test_only_findings_that_were_tested_are_drawn_and_other_suites_are_grey():
    """A policy without any of them, `lone`, has no row."""
    records = {"mini_a": policy(**LIKE), "mini_a_b": policy(**LIKE), "c": policy(suite=L, **LIKE | {"fewer": 87})}
    counts, policies = judged(records | {"lone": policy(suite=L, black=5)})
    assert forest.drawn(counts, counts, policies) == STATED
    labels, intervals, looks, _ = forest.rows(ONE, counts, counts, policies, 0.95)
    assert labels == ["a (first)", "a b", "c (first)"] and looks == [S, S, "unjudged"] and None not in intervals
    assert "is named\na grey one is not judged" in forest.below(counts, counts, policies, 0.95)
    alone, policies = judged({"a": policy(**LIKE | {"fewer": 87}), "b": policy(**LIKE), "c": policy(suite=L, **LIKE)})
    assert forest.drawn(alone, alone, policies) == [LOST, MORE]


def test_policies_and_settings_without_rows_are_named(untrained):
    here = CHECKPOINTS["libero_spatial"]
    lacking = Setting("prefix", "vision >= 0.1234")
    wanted = {"mini": Study(here, (NO_REUSE, lacking), 3), "new": Study(untrained, (NO_REUSE,), 3)}
    assert answers.not_recorded(wanted, comparable(wanted)) == [
        "Left out, since not all episodes without reuse are recorded: `new`.",
        "Left out, since not recorded in full for `mini`: all settings but no reuse.",
    ]
    wanted = {name: Study(here, (NO_REUSE, FULL, lacking), 3) for name in ("mini", "same")}
    assert answers.not_recorded(wanted, comparable(wanted)) == [
        "Left out, since not recorded in full for `mini` and `same`: `prefix when vision >= 0.1234`."
    ]
    assert answers.not_recorded({"mini": wanted["mini"]}, {"mini": wanted["mini"]}) == []


def test_numbers_stand_in_the_table_of_effects():
    policies = some({"a": policy(**LIKE), "b": policy(suite=L, **OTHER)})
    table = answers.effects(stated.judge(STATED, policies, 0.95), policies).loc[str(LOST)]
    assert table["suite"].tolist() == [S, L] and table["finding"].tolist() == ["holds", "fails"]
    assert table["replans that reuse"].tolist() == ["50 %"] * 2
    assert table["points"].str.startswith(("-50 (", "0 (")).all()


def test_the_findings_of_the_chapter_are_of_what_other_chapters_compare():
    """The parameter as it stands in the book's text."""
    cell = (BOOK / "across_policies.md").read_text().split("[parameters]\n")[1].split("```")[0]
    exec(cell, given := {})  # noqa: S102
    found = stated.stated(given["findings"], given["margin"])
    bought = {one for one in found if one.chapter == "buy_instead"}
    compared = {parse_setting(text) for text in LEVERS} | {NO_REUSE}
    assert bought and all({one.setting, one.other} <= compared for one in bought)
    pages = {one.chapter: (BOOK / f"{one.chapter}.md").read_text() for one in found}
    assert "0.97" in pages["baseline_sweep"] and "every(2)" in pages["decide"]
