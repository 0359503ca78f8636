"""How policies were trained: read from their folders, of made rows."""

from pathlib import Path

import pandas as pd

from kvlab.book.answers import stated, trainings
from kvlab.book.answers.stated import Policies
from kvlab.paths import CHECKPOINTS
from kvlab.study.settings import Setting
from kvlab.study.study import Study
from made import made

NO_REUSE, BLACK = Setting("none"), Setting("none", seeing="black")


def policies(**solved: tuple[int, int | None]) -> Policies:
    """Of a hundred episodes so many are solved, and so many with black cameras, if these are recorded."""
    records = {
        name: made({s: [(n < k, 100, [False]) for n in range(100)] for s, k in counted.items() if k is not None})
        for name, counts in solved.items()
        for counted in [dict(zip((NO_REUSE, BLACK), counts, strict=True))]
    }
    return Policies(records, dict.fromkeys(records, "libero_spatial"), stated.learned(records, 0.2, 0.95))


def test_a_policy_is_described_by_its_own_folder(untrained):
    studies = {"mini": Study(CHECKPOINTS["libero_spatial"], (NO_REUSE,), 3), "new": Study(untrained, (NO_REUSE,), 3)}
    table = trainings.table(studies, policies(mini=(99, 5), new=(3, 0)))
    assert table.loc["mini"].tolist() == ["libero_spatial", "8.2", "axis-angle", 0, 1086, 12000, "0.41"]
    assert table.loc["new"].tolist()[3:] == ["not recorded"] * 4
    curves = trainings.curves(studies)
    assert [*curves] == ["libero_spatial"] and [*curves["libero_spatial"]] == ["mini"]
    assert curves["libero_spatial"]["mini"].index.tolist() == [*range(1000, 12001, 1000)]


def test_a_loss_that_rises_again_is_counted():
    at = [1000, 2000, 3000]
    rising, falling = pd.Series([2.0, 1.0, 1.5], at), pd.Series([2.0, 1.0], at[:2])
    found = {"a": {"x": rising, "y": falling}, "b": {"z": rising}}
    assert trainings.headline(found) == "2 of 3 policies were trained beyond the lowest held-out loss"


def test_without_a_curve_there_is_no_loss(tmp_path: Path):
    assert trainings.held_out(tmp_path).empty


def test_success_has_a_row_with_its_interval_for_each_way_of_seeing():
    table = trainings.solved(policies(a=(99, 5), b=(90, None)), 0.95)
    assert table.index.tolist() == [(name, cameras) for name in "ab" for cameras in ("on", "black")]
    assert table["successes"].tolist() == ["99 of 100", "5 of 100", "90 of 100", "not recorded"]
    assert table["%"].tolist()[0].startswith("99 (95 to ") and table["%"].iloc[3] == ""
    assert table["learned"].tolist() == ["yes", "", "yes", ""]


def test_a_training_that_diverged_is_reported_and_no_other(tmp_path: Path):
    for name, losses in (("a", "100,1.5,\n200,,\n300,,\n"), ("b", "100,1.5,\n200,1.2,0.9\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "curve.csv").write_text(f"step,loss,validation_loss\n{losses}")
    (said,) = trainings.diverged(tmp_path)
    assert said == "The training of `a` diverged between step 100 and step 200, and left no policy to run."
