"""What is said of an old robot state with and without jumps, of made rows: none, some and all."""

from types import SimpleNamespace

import pandas as pd
import pytest

from kvlab.book.answers import jumps
from kvlab.evidence import verdicts
from kvlab.study.records import Records
from made import made

KEPT, LATE = jumps.OLD
WITH, WITHOUT = jumps.ROTATIONS


def policy(fresh: int, kept: int | None = None, late: int | None = None) -> Records:
    """A hundred episodes where nothing is old and of each setting with an old state: how many succeed, if recorded."""
    solved = {jumps.NO_REUSE: fresh, KEPT: kept, LATE: late}
    return made({one: [(n < k, 15, [False] * 3) for n in range(100)] for one, k in solved.items() if k is not None})


def forms(without: Records | None, *seeds: Records) -> jumps.Forms:
    vector = {"vector": policy(100, 70, 40)} | {f"seed{n}": rows for n, rows in enumerate(seeds, 1)}
    return {WITH: vector, WITHOUT: {} if without is None else {"numbers": without}}


def said(without: Records | None, *seeds: Records) -> str:
    mine = forms(without, *seeds)
    return " ".join(jumps.findings(mine, jumps.explanations(mine)))


def table(without: Records | None, *seeds: Records) -> pd.DataFrame:
    mine = forms(without, *seeds)
    return jumps.table(mine, jumps.explanations(mine))


@pytest.mark.parametrize("without", [None, policy(100)])
def test_nothing_is_judged_where_no_old_state_is_recorded_of_both(without):
    assert jumps.explanations(forms(without)) == {}
    assert "harmful: not known.** No old robot state is recorded both with jumps and without them." in said(without)


@pytest.mark.parametrize(
    ("kept", "late", "verdict"),
    [
        (95, None, "supported"),
        (30, None, "refuted"),
        (70, None, "not shown"),
        (95, 80, "supported"),
        (30, 5, "refuted"),
        (30, 40, "refuted in part"),
        (30, 80, "supported in part and refuted in part"),
        (72, 41, "not shown"),
    ],
)
def test_the_verdict_follows_from_what_each_policy_loses(kept, late, verdict):
    explained = jumps.explanations(forms(policy(100, kept, late)))
    assert len(explained[jumps.JUMPS]) == 1 + (late is not None)
    assert verdicts.verdict(explained[jumps.JUMPS]) == verdict
    assert ("Where the robot state is a replan late, not both are recorded." in said(policy(100, kept, late))) == (
        not late
    )
    assert "harmful: not shown.**" in said(policy(100, kept, late))  # of one training of each form


@pytest.mark.parametrize(
    ("kept", "further", "verdict"),
    [(0, 2, "refuted"), (30, 2, "not shown"), (70, 2, "not shown"), (100, 2, "not shown"), (100, 6, "supported")],
)
def test_the_claim_is_judged_only_beyond_what_trainings_differ_by(kept, further, verdict):
    """All trainings with jumps lose 30 points. By episodes alone 30 of 100 refutes, and 100 supports."""
    text = said(policy(100, kept), *[policy(100, 70)] * further)
    assert text.startswith(f"**That the orientation's jumps make an old robot state harmful: {verdict}")


def test_a_loss_is_counted_from_the_policys_own_success():
    """The policy without jumps solves 20 fewer of the same episodes in all settings: it loses as many as the other."""
    explained = jumps.explanations(forms(policy(80, 50, 20)))
    assert [round(one.effect.estimate, 9) for one in explained[jumps.JUMPS].values()] == [0, 0]
    text = said(policy(80, 30))
    rows = table(policy(80, 30))
    assert rows[["policy", "jumps", "nothing old", "successes"]].to_numpy().tolist() == [
        ["vector", "with", 100, 70],
        ["numbers", "without", 80, 30],
    ]
    assert [one.split(" ")[0] for one in rows["points"]] == ["-30", "-50"]
    assert "By the episodes of one training of each form it would be refuted; trainings by themselves may" in text


def test_intervals_of_two_predictions_hold_together():
    one, two = (jumps.explanations(forms(policy(100, 30, late)))[jumps.JUMPS] for late in (None, 5))
    assert [p.effect.confidence for p in (*one.values(), *two.values())] == pytest.approx([0.95, 0.975, 0.975])


@pytest.mark.parametrize(("without", "within"), [(55, True), (30, True), (5, False)])
def test_trainings_with_jumps_say_what_one_more_would_lose(without, within):
    trainings = policy(100, without), policy(100, 68), policy(98, 70)
    assert ("; trainings by themselves may differ as much." in said(*trainings)) == within
    rows = table(*trainings)
    lost = dict(zip(rows["policy"], (one.split(" ")[0] for one in rows["points"]), strict=True))
    assert (
        lost["vector"] == "-30" and lost["seed1"] == "-32" and lost["seed2"] == "-28" and "a further training" in lost
    )
    assert "a further training" not in [*table(*trainings[:2])["policy"]]


def test_no_old_state_no_table():
    assert len(table(None)) == len(table(policy(100))) == 0


def test_policies_are_told_apart_by_their_form():
    found = jumps.by_form({name: study(name) for name in ("axis_angle", "6d")})
    assert found == {WITH: {"axis_angle": "rows of axis_angle"}, WITHOUT: {"6d": "rows of 6d"}}


def study(rotation: str) -> SimpleNamespace:
    return SimpleNamespace(
        policy=SimpleNamespace(config=SimpleNamespace(rotation=rotation)), read=lambda: f"rows of {rotation}"
    )
