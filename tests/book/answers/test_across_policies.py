"""What *Across policies* says of made rows: other rows, other sentences."""

import re

import pytest

from kvlab.book.answers import across_policies as answers
from kvlab.book.recorded import comparable
from kvlab.evidence.policies import OPEN
from kvlab.evidence.verdicts import Prediction
from kvlab.paths import CHECKPOINTS
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from made import made

NO_REUSE, FEWER, FULL, PREFIX, BLACK = (
    Setting("none"),
    Setting("none", denoising_steps=2),
    Setting("full", "every(2)"),
    Setting("prefix", "every(2)"),
    Setting("none", seeing="black"),
)
STATED = answers.stated(["none steps=2"], ["full when every(2)"], {"prefix when every(2)": "full when every(2)"}, 0.05)
ONE, MORE, LOST = STATED


def policy(no_reuse: int = 90, suite: str = "libero_spatial", **solved: int) -> Records:
    """Of a hundred episodes of each setting so many are solved, the first ones."""
    named = {"fewer": FEWER, "full": FULL, "prefix": PREFIX, "black": BLACK}
    counts = {NO_REUSE: no_reuse} | {named[name]: k for name, k in solved.items()}
    return made(
        {setting: [(n < k, 100, [False, setting.mode != "none"]) for n in range(100)] for setting, k in counts.items()},
        suite,
    )


LIKE = {"fewer": 90, "full": 40, "prefix": 80, "black": 5}  # all three findings hold
OTHER = {"fewer": 60, "full": 90, "prefix": 70, "black": 5}  # all three fail


def said(records: dict[str, Records]) -> tuple[list[str], str, answers.Judged]:
    states = answers.learned(records, 0.2, 0.95)
    judged = answers.judge(STATED, {p: rows for p, rows in records.items() if states[p] == answers.LEARNED}, 0.95)
    suites = {p: rows.episodes["suite"].iloc[0] for p, rows in records.items()}
    return answers.findings(judged, states, suites, records, 0.95), answers.sentences(judged, 0.95), judged


def test_findings_are_read_as_they_are_stated():
    assert [str(finding) for finding in STATED] == [
        "2 denoising steps: under 5 points lost",
        "images, instruction kept, every(2): more solved than with everything kept, every(2)",
        "everything kept, every(2): over 5 points lost",
    ]
    assert answers.asked(STATED) == (NO_REUSE, BLACK, FEWER, PREFIX, FULL)


def test_an_effect_is_the_paired_difference_of_the_same_policy():
    judged = answers.judge(STATED, {"a": policy(**LIKE), "b": policy(80, **LIKE)}, 0.95)
    assert [judged[LOST][name].effect.estimate for name in "ab"] == pytest.approx([-0.5, -0.4])
    assert judged[MORE]["a"].effect.estimate == pytest.approx(0.4)
    assert all(isinstance(one, Prediction) and one.holds for one in judged[LOST].values())


def test_what_holds_in_all_is_told_together():
    found, sentences, judged = said({"a": policy(**LIKE), "b": policy(**LIKE)})
    assert answers.headline(judged) == "3 of 3 findings hold in both policies"
    assert found[0] == (
        "**3 of 3 findings hold in both policies.** Under 5 points lost: 2 denoising steps. More solved than with "
        "everything kept, every(2): images, instruction kept, every(2). Over 5 points lost: everything kept, every(2)."
    )
    assert found[1] == (
        "**What a further training would give is not known.** A mean over policies and its interval for a further one "
        "need at least 3 policies; here 2 policies counted."
    )
    assert sentences.splitlines()[0] == "- 2 denoising steps: under 5 points lost. **Holds in both policies**."


def test_what_holds_or_fails_in_most_names_the_policies_that_fail():
    found, sentences, _ = said({"a": policy(**LIKE), "b": policy(**LIKE), "c": policy(**OTHER)})
    assert found[0] == "**None of 3 findings holds in all 3 policies.**"
    assert found[1].startswith(
        "**3 findings hold in most.** 2 denoising steps: under 5 points lost (holds in 2 of 3, fails in `c`); images"
    )
    assert (
        "**Holds in most**: holds in 2 of 3, fails in `c`. The mean is 10 points fewer than without reuse ("
        in sentences
    )
    found, *_ = said({"a": policy(**LIKE), "b": policy(**OTHER), "c": policy(**OTHER)})
    assert "(holds in 1 of 3, fails in `b` and `c`)" in found[1] and found[1].startswith("**3 findings fail in most.**")
    mixed = OTHER | {"full": 40, "prefix": 80}
    found, *_ = said({"a": policy(**LIKE), "b": policy(**mixed), "c": policy(**mixed)})
    assert found[1].startswith("**1 finding fails in most.** 2 denoising steps")


def test_where_policies_are_split_nothing_is_decided():
    found, sentences, judged = said({"a": policy(**LIKE), "b": policy(**OTHER)})
    assert {answers.held(one) for one in judged.values()} == {OPEN}
    assert found[1].startswith("**3 of 3 findings are not decided.**")
    assert "**Not decided**: holds in 1 of 2, fails in `b`." in sentences
    _, sentences, _ = said({"a": policy(**LIKE | {"fewer": 86})})
    assert "**Not decided**: holds in 0 of 1, open in 1." in sentences


def test_a_further_policy_is_told_from_three_on():
    """With three there is one degree of freedom, so that a loss under the margin is not foretold; with ten it is."""
    found, *_ = said({name: policy(**LIKE) for name in "abcdefghij"})
    assert found[-1].startswith("**3 of 3 findings would hold in a further policy, as far as these tell.** Under 5")
    found, sentences, judged = said({name: policy(**LIKE) for name in "abc"})
    assert found[-1].startswith("**2 of 3 findings would hold in a further policy, as far as these tell.** More solved")
    low, high = map(int, re.findall(r"in a further policy (-?\d+) to (-?\d+) points", sentences)[-1])
    assert low < -50 < high < -5
    spread = {name: policy(**LIKE | {"full": full}) for name, full in zip("abc", (5, 45, 85), strict=True)}
    assert said(spread)[0][-1].startswith("**None of 3 findings would hold in a further policy")
    table = answers.means(judged, dict.fromkeys("abc", "libero_spatial"), 0.95)
    assert table.loc[(str(ONE), "all"), ["policies", "spread"]].tolist() == [3, "0"] and len(table) == 3


def test_suites_with_three_policies_have_means_of_their_own():
    suites = dict.fromkeys("abc", "libero_spatial") | {"d": "libero_10"}
    records = {name: policy(suite=suite, **LIKE | {"full": 40 - 30 * (name == "d")}) for name, suite in suites.items()}
    judged = answers.judge(STATED, records, 0.95)
    table = answers.means(judged, suites, 0.95).loc[str(LOST)]
    assert table.index.tolist() == ["all", "libero_spatial"] and table["policies"].tolist() == [4, 3]
    assert table["mean, points"].str.split().str[0].tolist()[1] == "-50"
    assert answers.means(answers.judge(STATED, {"a": records["a"]}, 0.95), suites, 0.95).empty


def test_a_range_ends_where_no_difference_can_be():
    spread = {name: policy(**LIKE | {"full": full}) for name, full in zip("abc", (0, 45, 90), strict=True)}
    judged = answers.judge([LOST], spread, 0.95)
    assert answers.means(judged, dict.fromkeys("abc", "libero_10"), 0.95)["a further policy"].tolist() == [
        "-100 to 100"
    ]


def test_a_policy_that_did_not_learn_is_reported_and_counts_in_nothing():
    records = {"a": policy(**LIKE), "weak": policy(8, **dict.fromkeys(LIKE, 8)), "half": policy(26, **LIKE)}
    assert answers.learned(records, 0.2, 0.95) == {"a": "yes", "weak": "no", "half": "not shown"}
    found, _, judged = said(records)
    assert [*judged[ONE]] == ["a"] and "hold in the one policy" in found[0]
    assert "`weak` is not shown to have learned `libero_spatial`, and counts in no finding: without reuse" in found[-1]
    assert "it solves 8 of 100." in found[-1] and "it solves 26 of 100." in found[-1]
    states = answers.learned(records, 0.2, 0.95)
    everywhere = answers.judge(STATED, records, 0.95)
    labels, intervals, looks = answers.rows(
        ONE, everywhere[ONE], judged, states, dict.fromkeys(records, "libero_10"), 0.95
    )
    assert labels == ["a", "weak (not learned)", "half (not learned)"] and looks == ["libero_10"] * 3
    assert intervals[1].estimate == 0


def test_where_none_has_learned_nothing_is_judged():
    (only,) = said({"weak": policy(8, **dict.fromkeys(LIKE, 8))})[0]
    assert only.startswith("**No policy is shown to have learned its suite.** So no finding is judged. `weak` is not")


def test_a_setting_that_a_policy_lacks_is_left_out_there():
    records = {name: policy(**LIKE) for name in "abc"} | {"d": policy(fewer=90)}
    found, sentences, judged = said(records)
    assert [*judged[ONE]] == ["a", "b", "c", "d"] and [*judged[LOST]] == ["a", "b", "c"]
    assert found[0].startswith("**3 of 3 findings hold in every policy where they are recorded.**")
    assert (
        "**Holds in all 3 policies where it is recorded**." in sentences and "**Holds in all 4 policies**." in sentences
    )
    states, suites = answers.learned(records, 0.2, 0.95), dict.fromkeys(records, "libero_spatial")
    labels, intervals, looks = answers.rows(LOST, judged[LOST], judged, states, suites, 0.95)
    assert labels[-2:] == ["d", "a further policy"] and intervals[3] is None and looks[-1] == "none"
    assert intervals[-1].low < -0.5 < intervals[-1].high
    assert answers.judge(STATED, {"d": records["d"]}, 0.95).keys() == {ONE}


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
    records = {"a": policy(**LIKE), "b": policy(**OTHER)}
    judged = answers.judge(STATED, records, 0.95)
    table = answers.effects(judged, {"a": "libero_spatial", "b": "libero_10"}, records).loc[str(LOST)]
    assert table["suite"].tolist() == ["libero_spatial", "libero_10"] and table["finding"].tolist() == [
        "holds",
        "fails",
    ]
    assert table["replans that reuse"].tolist() == ["50 %"] * 2
    assert table["points"].str.startswith(("-50 (", "0 (")).all()
