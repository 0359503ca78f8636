"""What further trainings mean for the book's recommendation, of made rows, and which that is, of the recorded ones."""

from dataclasses import replace

from kvlab.book.answers import across_recommended, recommended, stated
from kvlab.book.answers.second_seed import NO_REUSE, Again, Choice
from kvlab.book.answers.stated import Policies
from kvlab.evidence import margins
from kvlab.evidence.summary import difference
from kvlab.paths import CHECKPOINTS
from kvlab.study.protocol import Protocol
from kvlab.study.settings import parse_setting
from kvlab.study.study import Study
from kvlab.study.times import latency
from made import made

ONE, TWO = parse_setting("none steps=1"), parse_setting("none steps=2")
CLAIMS = stated.stated({"buy_instead": [f"none steps={n} loses under the margin" for n in (1, 2)]}, 0.05)
S, L = "libero_spatial", "libero_10"


def chosen(*settings) -> Choice:
    taken, *cheaper = (Again(setting, {}, 0.05, 0.95) for setting in settings)
    return Choice(taken, tuple(cheaper))


ALONE = chosen(ONE)


def said(*solved: tuple[str, int | None], choice: Choice | None = ALONE, two: int | None = None) -> str:
    """Of policies on suites: so many of a hundred episodes are solved with one step, and ninety without reuse.

    With two steps `two` are, in every policy.
    """
    suites = {f"p{n}": suite for n, (suite, _) in enumerate(solved)}
    records = {
        name: made({s: [(n < k, 100, [False]) for n in range(100)] for s, k in counts.items() if k is not None}, suite)
        for (name, suite), (_, k) in zip(suites.items(), solved, strict=True)
        for counts in [{NO_REUSE: 90, ONE: k, TWO: two}]
    }
    policies = Policies(records, suites, stated.learned(records, 0.2, 0.95))
    counts = stated.counted(stated.judge(CLAIMS, policies, 0.95), policies)
    return across_recommended.advice(choice, counts, policies, 0.05, 0.95)


def test_the_first_policies_alone_confirm_nothing():
    told = "**1 denoising step, which the book recommends: not trained again.** No further training ran it."
    assert said((S, 90), (L, 90)) == said((S, 90), (S, None)) == told
    assert said((S, 90), (S, 90), choice=None) == ""
    other = said((S, 90), (S, 90), choice=chosen(parse_setting("none steps=5")))
    assert other.startswith("**5 denoising steps, which the book recommends: not trained again.**")


def test_further_trainings_show_it_or_leave_it_open_or_contradict_it():
    assert said((S, 90), (S, 90), (L, 90)) == (
        "**1 denoising step, which the book recommends: holds in all.** That it loses under 5 points, if any, holds in "
        "1 of 1 further training on `libero_spatial`, and fails in none. On `libero_10` none ran it."
    )
    told = said((S, 90), (S, 90), (S, 87), (L, 90), (L, 90))
    assert told.startswith("**1 denoising step, which the book recommends: holds in most.** That it loses under 5")
    assert "holds in 1 of 2 further trainings on `libero_spatial` and 1 of 1 on `libero_10`, and fails in none." in told
    assert ": not decided.** That" in said((S, 90), (S, 87))
    told = said((S, 90), (S, 60))
    assert ": fails in most.** That" in told and "on `libero_spatial`, fails in `p1`." in told


def test_each_setting_has_one_verdict_and_what_means_expect_is_none():
    told = said((S, 90), (S, 87), (S, 90), choice=chosen(TWO, ONE), two=90)
    assert told.startswith("**2 denoising steps, which the book recommends: holds in all.** ")
    assert "**1 denoising step, cheaper, which a second seed does not confirm: not decided.** That" in told
    assert (
        told.count("**") == 4 and "The range expected of a further policy of the suite, the first counted, is -" in told
    )


def test_the_findings_that_have_their_verdict_here_are_those_of_the_choice():
    judged = dict.fromkeys(CLAIMS, {})
    assert across_recommended.advised(chosen(TWO, ONE), judged) == CLAIMS
    assert across_recommended.advised(chosen(ONE), judged) == CLAIMS[:1]
    assert across_recommended.advised(None, judged) == []


def test_what_is_recommended_loses_under_the_margin_by_the_recorded_rows():
    """By both seeds; what is cheaper, by the first."""
    first = {suite: Study(path, (NO_REUSE,), 100, Protocol(suite)) for suite, path in CHECKPOINTS.items()}
    choice = recommended.of_book(first, latency("cpu"), 0.05, 0.95)
    assert choice.confirmed
    for study in first.values():
        for again in choice.all:
            for seed in (0, 1) if again is choice.taken else (0,):
                rows = replace(study, settings=(NO_REUSE, again.setting), seed=seed).read()
                assert margins.loss(difference(rows, again.setting, NO_REUSE), 0.05) == margins.INSIDE
    assert recommended.of_book(first, latency("cpu"), 0.001, 0.95) is None
