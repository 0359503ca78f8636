"""What is said of int8, of made tables: other times and other successes, other sentences."""

import pandas as pd

from kvlab.bench.precision import FLOATS
from kvlab.book.answers import precision as answers
from kvlab.paths import CHECKPOINTS, DATA
from kvlab.pi0.int8 import ACTIVATIONS, PRECISIONS, WEIGHTS
from made import made

ONE_STEP = answers.SETTINGS[ACTIVATIONS][1]


def measured(native: float = 0.7, portable: float = 1.3) -> pd.DataFrame:
    rows = []
    for numerics, ratio in zip((answers.PORTABLE, answers.NATIVE), (portable, native), strict=True):
        for name in (FLOATS, *PRECISIONS):
            one = ratio if name == ACTIVATIONS else 1
            row = {"suite": "short", "numerics": numerics, "precision": name, "ratio": one}
            row |= {"low": one - 0.02, "high": one + 0.02, "error": 0.0 if name == FLOATS else 0.01}
            row |= {"file_mb": 16.0 if name == FLOATS else 8.0, "weights_mb": 8.0 if name == ACTIVATIONS else 32.0}
            rows.append(row | {"other_noise": 0.25})
    return pd.DataFrame(rows)


def outcomes(weights: int, activations: int) -> dict:
    """So many of 100 episodes succeed in int8, 10 fewer with activations and 1 denoising step; in float32 all."""

    def solved(many: int):
        return [(n < many, 15, [False] * 3) for n in range(100)]

    return {
        ("short", FLOATS): made({answers.NO_REUSE: solved(100)}),
        ("short", WEIGHTS): made({answers.NO_REUSE: solved(weights)}),
        ("short", ACTIVATIONS): made({answers.NO_REUSE: solved(activations), ONE_STEP: solved(activations - 10)}),
    }


def test_what_is_saved_and_what_is_lost():
    size, time, weights, activations = answers.said(measured(), outcomes(100, 80), 0.95)
    assert "**Weights in int8 make the file smaller and save no time.** It has 50 % of the recorded one's size" in size
    assert time == (
        "**Activations in int8 save time with the processor's own instructions (VNNI).** Portable numerics take longer."
    )
    assert weights == "**Int8 weights lose, if anything, under 5 points.**"
    assert activations == "**Int8 weights and activations lose over 5 points.**"


def test_what_is_not_shown_is_not_said():
    _, time, weights, _ = answers.said(measured(native=0.99), outcomes(95, 80), 0.95)
    assert time.startswith("**Activations in int8 are not shown to save time with the processor's")
    assert weights.startswith("**Whether int8 weights lose over 5 points is open.**")


def test_suites_that_end_otherwise_are_named():
    short, long = outcomes(100, 97), outcomes(100, 100)
    both = short | {("long", name): rows for (_, name), rows in long.items()}
    *_, activations = answers.said(measured(), both, 0.95)
    assert activations == (
        "**Whether int8 weights and activations lose over 5 points is open in `short`; int8 weights and activations "
        "lose, if anything, under 5 points in `long`.**"
    )


def test_without_rows_only_sizes_and_times_are_told():
    assert len(answers.said(measured(), {}, 0.95)) == 2
    assert answers.success({}, 0.95).empty


def test_tables_have_a_row_for_each_precision_and_setting():
    costs, success = answers.costs(measured()), answers.success(outcomes(100, 80), 0.95)
    assert list(costs.index) == [FLOATS, *PRECISIONS]
    assert costs.loc[ACTIVATIONS, "time, native"] == "0.70 (0.68 to 0.72)"
    assert costs.loc[ACTIVATIONS, "time, portable"] == "1.30"
    assert costs.loc[WEIGHTS, "weights in memory, MB"] == "32.0" and costs.loc[WEIGHTS, "by other noise"] == "0.250"
    assert list(success.index) == [FLOATS, WEIGHTS, ACTIVATIONS, ACTIVATIONS]
    assert list(success["successes"]) == ["100 of 100", "100 of 100", "80 of 100", "70 of 100"]
    assert list(success["loss"]) == ["", "under 5", "over 5", "over 5"]
    assert list(success["setting"])[-1] == "1 denoising step" and success["points"].iloc[-1].startswith("-30 (")


def test_only_what_is_recorded_in_full_is_read(tmp_path):
    assert answers.recorded(3, tmp_path) == {}


def test_the_recorded_policies_in_int8_are_found_again():
    """By the digest of a checkpoint that is made anew: other bytes would find no rows."""
    found = answers.recorded(3)
    assert found.keys() == {(suite, name) for suite in CHECKPOINTS for name in (FLOATS, *PRECISIONS)}
    assert all(len(rows.replans) for rows in found.values())


def test_successes_are_those_of_the_files():
    files = [pd.read_parquet(path, columns=["success"])["success"] for path in DATA.glob("int8/*/*.parquet")]
    said = answers.success(answers.recorded(100), 0.95)
    expected = sorted(f"{success.sum()} of {len(success)}" for success in files)
    assert sorted(said.loc[list(PRECISIONS), "successes"]) == expected
