"""What further trainings mean for the book's recommendation, of made rows, and which that is, of the recorded ones."""

from dataclasses import replace

from kvlab.book.answers import recommended, stated
from kvlab.book.answers.stated import NO_REUSE, Policies
from kvlab.evidence import margins
from kvlab.evidence.summary import difference
from kvlab.paths import CHECKPOINTS
from kvlab.study.protocol import Protocol
from kvlab.study.settings import parse_setting
from kvlab.study.study import Study
from kvlab.study.times import latency
from made import made

ONE = parse_setting("none steps=1")
(CLAIM,) = stated.stated({"buy_instead": ["none steps=1 loses under the margin"]}, 0.05)


def said(*solved: tuple[str, int | None], setting=ONE) -> str:
    """Of policies on suites: so many of a hundred episodes are solved with one step, and ninety without reuse."""
    suites = {f"p{n}": suite for n, (suite, _) in enumerate(solved)}
    records = {
        name: made({s: [(n < k, 100, [False]) for n in range(100)] for s, k in counts.items() if k is not None}, suite)
        for (name, suite), (_, k) in zip(suites.items(), solved, strict=True)
        for counts in [{NO_REUSE: 90, ONE: k}]
    }
    policies = Policies(records, suites, stated.learned(records, 0.2, 0.95))
    counts = stated.counted(stated.judge([CLAIM], policies, 0.95), policies)
    return recommended.advice(setting, counts, policies, 0.05, 0.95)


S, L = "libero_spatial", "libero_10"


def test_the_first_policies_alone_confirm_nothing():
    told = "**No further training ran what the book recommends, 1 denoising step.** That it loses under 5 points rests"
    assert said((S, 90), (L, 90)).startswith(told) and said((S, 90), (S, None)).startswith(told)
    assert said((S, 90), (S, 90), setting=None) == ""
    other = said((S, 90), (S, 90), setting=parse_setting("none steps=5"))
    assert other.startswith("**No further training ran what the book recommends, 5 denoising steps.**")


def test_further_trainings_confirm_it_or_leave_it_open_or_contradict_it():
    assert said((S, 90), (S, 90), (L, 90)) == (
        "**The further training confirms what the book recommends, 1 denoising step.** It is shown to lose under 5 "
        "points in 1 of 1 further training on `libero_spatial`. On `libero_10` no further training ran it."
    )
    assert said((S, 90), *[(S, 90)] * 2).startswith("**Every further training confirms what the book recommends, 1")
    assert said((S, 90), (S, 87)).startswith("**No further training confirms what the book recommends")
    told = said((S, 90), (S, 90), (S, 87))
    assert told.startswith("**Not every further training confirms what the book recommends, 1 denoising step.** It is")
    assert "in 1 of 2 further trainings on `libero_spatial`. In `p2` whether it loses over 5 points is open: 3" in told
    assert "1 more). Nor is it contradicted: in none is it shown to lose over 5 points. In a further policy of" in told
    assert told.endswith("So it is a candidate, to be tried on episodes of your own policy before you take it.")
    told = said((S, 90), (S, 60))
    assert told.startswith("**Further training contradicts what the book recommends") and "Nor" not in told
    assert "In `p1` the loss is over 5 points: 30 points fewer" in told and "So it is a candidate" in told


def test_what_is_expected_of_a_further_policy_is_held_against_the_margin():
    few = said((S, 90), (S, 90), (S, 87))
    assert "the difference is expected within -" in few and "tell: whether over 5 points are lost is open." in few
    many = [(S, 90)] * 9
    assert "points, as far as these tell: a loss under 5 points, if any." in said(*many)
    assert "points, as far as these tell: a loss over 5 points." in said(*[(S, 50)] * 9)


def test_what_is_recommended_loses_under_the_margin_by_the_recorded_rows():
    first = {suite: Study(path, (NO_REUSE,), 100, Protocol(suite)) for suite, path in CHECKPOINTS.items()}
    taken = recommended.recommended(first, latency("cpu"), 0.05, 0.95)
    for study in first.values():
        rows = replace(study, settings=(NO_REUSE, taken)).read()
        assert margins.loss(difference(rows, taken, NO_REUSE), 0.05) == margins.INSIDE
    assert recommended.recommended(first, latency("cpu"), 0.001, 0.95) is None
