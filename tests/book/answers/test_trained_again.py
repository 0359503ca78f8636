"""How a claim stands in further trainings: of none, some and all of their episodes, and by how they end."""

import pytest

from kvlab.book.answers import trained_again
from kvlab.book.answers.trained_again import AGAIN, shown
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting
from kvlab.study.study import Study

NO_REUSE, FEWER = Setting("none"), Setting("none", denoising_steps=1)
WHERE = "libero_spatial"


@pytest.fixture
def studies(tmp_path, make_row):
    """A function of (solved without reuse, lost by FEWER, episodes recorded), one a further training of a suite."""

    def recorded(*trainings: tuple[int, int, int]) -> list[Study]:
        first = Study(CHECKPOINTS[WHERE], (NO_REUSE,), 100, Protocol(WHERE), folder=tmp_path)
        for name, (solved, lost, many) in zip(AGAIN[WHERE], trainings, strict=False):
            again = Study(DATA / "checkpoints" / name, (NO_REUSE, FEWER), 100, Protocol(WHERE), folder=tmp_path)
            for setting, won in ((NO_REUSE, solved), (FEWER, solved - lost)):
                for n, (task, state) in enumerate(again.trials()[:many]):
                    again.recording(setting).add(make_row(task, state) | {"success": n < won})
        return [first]

    return recorded


@pytest.mark.parametrize(
    ("trainings", "said"),
    [
        ([], "No further training ran it"),
        ([(100, 0, 99)], "No further training ran it"),
        ([(5, 0, 100)], "No further training ran it"),  # it has not learned
        ([(100, 0, 100)], "Of further trainings 1 of 1 on `libero_spatial` show it, none a loss over 5 points"),
        (
            [(100, 0, 100), (100, 4, 100)],
            "Of further trainings 1 of 2 on `libero_spatial` show it, none a loss over 5 points",
        ),
        (
            [(100, 4, 100), (100, 30, 100)],
            "Of further trainings none of 2 on `libero_spatial` show it, 1 a loss over 5 points",
        ),
    ],
)
def test_what_is_said_follows_from_the_rows(studies, trainings, said):
    assert shown(studies(*trainings), FEWER, 0.05, 0.95) == f"{said} ({trained_again.LINK})."


def test_another_policy_has_no_further_trainings(untrained, tmp_path):
    assert shown([Study(untrained, (NO_REUSE,), 3, folder=tmp_path)], FEWER, 0.05, 0.95) == ""


def test_a_suite_that_has_none_is_named(studies, tmp_path):
    both = [
        *studies((100, 0, 100)),
        Study(CHECKPOINTS["libero_10"], (NO_REUSE,), 100, Protocol("libero_10"), folder=tmp_path),
    ]
    assert shown(both, FEWER, 0.05, 0.95).endswith(
        ", none a loss over 5 points (" + trained_again.LINK + "); on `libero_10` none ran it."
    )
