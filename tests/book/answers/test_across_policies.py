"""What *Across policies* says of made rows: other rows, other sentences."""

import re

import pytest

from kvlab.book.answers import across_policies as answers
from kvlab.book.answers import further, stated
from kvlab.book.answers.buy_instead import LEVERS
from kvlab.book.answers.stated import Policies
from kvlab.book.recorded import comparable
from kvlab.evidence.policies import OPEN, held
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


def said(records: dict[str, Records]) -> tuple[list[str], str]:
    counts, policies = judged(records)
    return answers.findings(counts, policies, 0.95), answers.sentences(counts, policies, 0.95)


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
    found, sentences = said({"a": policy(**LIKE), "b": policy(suite=L, **LIKE)})
    assert found == [
        "**No further training is recorded: one policy a suite.** So 3 findings of other chapters rest on one training "
        "a suite, and policy and suite cannot be told apart. Under 5 points lost: 2 denoising steps "
        f"({BUY}). Over 5 points lost: everything kept, every(2) ({BUY}). More solved than with everything kept, "
        f"every(2): images, instruction kept, every(2) ({DECIDE}).",
        "**What a further training would give is not known.** A mean over policies and its interval for a further one "
        "need at least 3 policies; here 2 policies counted.",
    ]
    assert sentences.splitlines()[0] == f"- 2 denoising steps: under 5 points lost ({BUY}). **Not trained again.**"
    assert answers.beforehand(some({"a": policy(**LIKE)})).endswith("were recorded, of which there is none yet.")
    (alone, _), _ = said({"a": policy(**LIKE)})
    assert "findings of other chapters rest on one training a suite. Under" in alone


def test_what_no_first_policy_shows_is_a_conjecture():
    found, sentences = said({"a": policy(**LIKE | {"fewer": 87}), "b": policy(suite=L, **LIKE | {"fewer": 87})})
    assert "So 2 findings of other chapters rest on" in found[0] and "2 denoising steps" not in found[0]
    assert found[1] == (
        "**None of 1 conjecture holds in all policies.** No chapter says that these hold. Under 5 points lost: "
        f"2 denoising steps ({BUY})."
    )
    assert sentences.splitlines()[-1] == (
        f"- Conjecture: 2 denoising steps: under 5 points lost ({BUY}). **Not decided**: holds in 0 of 1 on "
        f"`{S}` and 0 of 1 on `{L}`."
    )


def test_a_finding_of_one_suite_is_judged_there_alone():
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(suite=L, **LIKE | {"fewer": 87})}
    counts, policies = judged(records)
    assert [*stated.claims(counts, policies)[ONE]] == ["a", "b"] and [*counts[ONE]] == ["a", "b", "c"]
    found, sentences = said(records)
    assert f"Under 5 points lost: 2 denoising steps, in `{S}` ({BUY})." in found[0]
    assert f"under 5 points lost, in `{S}` ({BUY}). **Holds in both policies.**" in sentences
    assert answers.wrapped(ONE, counts, policies).endswith("under 5 points lost, in\nlibero_spatial")
    assert answers.wrapped(LOST, counts, policies).endswith("every(2)\nover 5 points lost")
    gated = stated.Finding(Setting("full", "vision >= 0.97"))
    assert "kept,\nimages\N{NO-BREAK SPACE}≥\N{NO-BREAK SPACE}0.97\n" in answers.wrapped(gated, counts, policies)


def test_what_holds_in_all_is_told_with_how_many_trainings_there_are():
    records = {"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(suite=L, **LIKE), "d": policy(suite=L, **LIKE)}
    found, sentences = said(records)
    counts, policies = judged(records)
    assert policies.further == ["b", "d"]
    assert answers.headline(counts, policies) == "2 further trainings: 3 of 3 findings hold in all policies"
    assert found[0].startswith(
        "**2 further trainings: 3 of 3 findings hold in all policies.** The further trainings are: 1 on "
        f"`{S}` and 1 on `{L}`. Under 5 points lost: 2 denoising steps ({BUY}). Over"
    )
    assert "**Holds in all 4 policies.** The mean is as many as without reuse (" in sentences
    assert answers.beforehand(policies).endswith("were recorded.")
    found, _ = said({name: records[name] for name in "abc"})
    assert found[0].startswith(
        "**1 further training: 3 of 3 findings hold in all policies.** The further training is: 1"
    )


def test_a_finding_of_a_suite_that_was_not_trained_again_is_not_counted_as_tested():
    records = {"a": policy(**LIKE | {"fewer": 87}), "b": policy(**LIKE), "c": policy(suite=L, **LIKE)}
    found, sentences = said(records)
    assert found[0].startswith("**1 further training: 2 of 2 findings hold in all policies.**")
    assert f"in `{L}` ({BUY}). **Not trained again.**" in sentences


def test_a_further_training_without_the_settings_tests_nothing():
    found, _ = said({"a": policy(**LIKE), "b": policy()})
    assert found[0].startswith("**1 further training, by which no finding can be judged.**")


def test_what_holds_or_fails_in_most_names_the_policies_that_fail():
    found, sentences = said({"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(**OTHER)})
    assert found[0] == (
        "**2 further trainings: None of 3 findings holds in all policies.** The further trainings are: 2 on "
        "`libero_spatial`."
    )
    assert found[1].startswith(
        f"**3 findings hold in most.** 2 denoising steps: under 5 points lost ({BUY}: holds in 2 of 3 on `{S}`, fails "
        "in `c`); everything"
    )
    assert f"**Holds in most**: holds in 2 of 3 on `{S}`, fails in `c`. The mean is 10 points fewer than" in sentences
    found, _ = said({"a": policy(**LIKE), "b": policy(**OTHER), "c": policy(**OTHER)})
    assert "holds in 1 of 3 on `libero_spatial`, fails in `b` and `c`)" in found[1]
    assert found[1].startswith("**3 findings fail in most.**")
    mixed = OTHER | {"full": 40, "prefix": 80}
    found, _ = said({"a": policy(**LIKE), "b": policy(**mixed), "c": policy(**mixed)})
    assert found[1].startswith("**1 finding fails in most.** 2 denoising steps")


def test_where_policies_are_split_nothing_is_decided():
    found, sentences = said({"a": policy(**LIKE), "b": policy(**OTHER)})
    counts, _ = judged({"a": policy(**LIKE), "b": policy(**OTHER)})
    assert {held(one) for one in counts.values()} == {OPEN}
    assert found[1].startswith("**3 of 3 findings are not decided.** It is open whether these hold. Under 5")
    assert f"**Not decided**: holds in 1 of 2 on `{S}`, fails in `b`." in sentences
    found, _ = said({"a": policy(**LIKE), "b": policy(**LIKE | {"fewer": 87})})
    assert found[1].startswith("**1 of 3 findings is not decided.**")


def test_an_answer_has_four_findings_at_most():
    first = LIKE | {"fewer": 87}  # a conjecture, a finding that is open, one that fails in most, and one unlearned
    rest = {"full": 90, "prefix": 80, "black": 5, "fewer": 90}
    found, _ = said(
        {"a": policy(**first), "b": policy(**rest), "c": policy(**rest | {"prefix": 86}), "weak": policy(8, **LIKE)}
    )
    assert len(found) == 4 and "conjecture" in found[2] and "`weak`" in found[3] and "most" in found[1]


def test_a_further_policy_is_told_from_three_on():
    """With three there is one degree of freedom, so that a loss under the margin is not foretold; with ten it is."""
    found, _ = said({name: policy(**LIKE) for name in "abcdefghij"})
    assert found[-1].startswith("**3 of 3 findings would hold in a further policy, as far as these tell.** Under 5")
    records = {name: policy(**LIKE) for name in "abc"}
    found, sentences = said(records)
    assert found[-1].startswith("**2 of 3 findings would hold in a further policy, as far as these tell.** Over 5")
    low, high = map(int, re.findall(r"in a further policy (-?\d+) to (-?\d+) points", sentences)[1])
    assert low < -50 < high < -5
    spread = {name: policy(**LIKE | {"full": full}) for name, full in zip("abc", (5, 45, 85), strict=True)}
    assert said(spread)[0][-1].startswith("**None of 3 findings would hold in a further policy")
    table = further.means(*judged(records), 0.95)
    assert table.loc[(str(ONE), "all"), ["policies", "spread"]].tolist() == ["3", "0"] and len(table) == 3


def test_policy_and_suite_are_told_apart_by_three_policies_in_each():
    few = {name: policy(**LIKE) for name in "abc"} | {"d": policy(suite=L, **LIKE), "e": policy(suite=L, **LIKE)}
    told = further.suite_or_training(*judged(few), 0.95)
    assert told.startswith("**Policy and suite cannot be told apart.** That takes 3 policies that have learned in each")
    apart = few | {name: policy(suite=L, **LIKE | {"full": 70}) for name in "def"}
    told = further.suite_or_training(*judged(apart), 0.95)
    assert told.startswith("**In 2 of 3 effects the suites are shown to differ.**")
    assert told.endswith(f"These: {LOST}; {MORE}.")
    table = further.means(*judged(apart), 0.95).loc[str(LOST)]
    assert table.index.tolist() == ["all", L, S, f"{L} minus {S}"] and table["policies"].tolist() == ["6", "3", "3", ""]
    assert table["mean, points"].str.split().str[0].tolist()[1:] == ["-20", "-50", "30"]
    alike = few | {"f": policy(suite=L, **LIKE)}
    assert "**In none of 3 effects the suites are shown to differ.**" in further.suite_or_training(*judged(alike), 0.95)
    assert further.means(*judged({"a": few["a"]}), 0.95).empty


def test_a_range_ends_where_no_difference_can_be():
    spread = {name: policy(**LIKE | {"full": full}) for name, full in zip("abc", (0, 45, 90), strict=True)}
    table = further.means(*judged(spread), 0.95)
    assert table.loc[(str(LOST), "all"), "a further policy"] == "-100 to 100"


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
    labels, intervals, looks, over = answers.rows(ONE, everywhere[ONE], counts, policies, 0.95)
    assert labels == ["a", "weak*", "half*"] and looks == [S] * 3 and over is None
    assert intervals[1].estimate == 0
    assert answers.below(policies).endswith("\n* not shown to have learned, counts in no finding")
    assert answers.below(some({"a": records["a"]})) == "points, compared with no reuse or what is named"
    assert answers.drawn(everywhere, counts, policies) == STATED


def test_where_none_has_learned_nothing_is_judged_and_all_is_drawn():
    records = {"weak": policy(8, **dict.fromkeys(LIKE, 8))}
    (only,) = said(records)[0]
    assert only.startswith("**No policy is shown to have learned its suite.** So no finding is judged. `weak` is not")
    counts, policies = judged(records)
    assert counts == {} and answers.drawn(stated.judge(STATED, policies, 0.95), counts, policies) == STATED


def test_a_setting_that_a_policy_lacks_is_left_out_there():
    records = {name: policy(**LIKE) for name in ("a", "b", "mini_c")} | {"d": policy(fewer=90)}
    found, sentences = said(records)
    counts, policies = judged(records)
    assert [*counts[ONE]] == [*records] and [*counts[LOST]] == ["a", "b", "mini_c"]
    assert found[0].startswith("**3 further trainings: 3 of 3 findings hold in all policies.**")
    assert "**Holds in all 3 policies.**" in sentences and "**Holds in all 4 policies.**" in sentences
    labels, intervals, looks, over = answers.rows(LOST, counts[LOST], counts, policies, 0.95)
    assert labels == ["a", "b", "c", "d", "mean, further"] and looks[-1] == "none"
    assert intervals[3] is None and intervals[4] is None and over.further.low < -0.5 < over.further.high


def test_policies_and_settings_without_rows_are_named(untrained):
    here = CHECKPOINTS["libero_spatial"]
    lacking = Setting("prefix", "vision >= 0.1234")
    wanted = {"mini": Study(here, (NO_REUSE, lacking), 3), "new": Study(untrained, (NO_REUSE,), 3)}
    assert answers.not_recorded(wanted, comparable(wanted)) == [
        "Left out, since not all episodes without reuse are recorded: `new`.",
        "`mini`: Not recorded in full for `libero_spatial`, so left out: `prefix when vision >= 0.1234`.",
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
