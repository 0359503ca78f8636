"""What is said of gates on thumbnails, of made rows: other rows, other verdicts and sentences."""

import pandas as pd
import pytest

from kvlab.book.answers import thumbnails
from kvlab.book.answers.thumbnails import MOMENTS, NO_REUSE, OLDER, PIXELS, SETTINGS, SMALL
from kvlab.evidence import verdicts
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from made import made


def records(near: float = 0.5, gap=40, near_gap=40, thumbnails_age=1) -> dict[str, Records]:
    """Thumbnails solve so many fewer of 100; where they find the images alike, so much is near a grasp (images: 0).

    What they reuse is `thumbnails_age` replans old at most, what image tokens do two.
    """
    solved = {NO_REUSE: 100}
    for (behind, images), fewer in zip(thumbnails.PAIRS, (gap, gap, near_gap), strict=True):
        solved |= {behind: 90 - fewer, images: 90}

    def reuses(setting, n: int) -> list[bool]:
        longest = thumbnails_age + n % 2 if setting.gate.startswith("pixels") else 2 + n % 2
        return [setting != NO_REUSE and 0 < k <= longest for k in range(5)]

    rows = made({one: [(n < k, 15, reuses(one, n)) for n in range(100)] for one, k in solved.items()})
    place = rows.replans["replan"]
    # Of five replans the first has nothing before it; thumbnails find 1 and 2 alike, image tokens 3 and 4.
    signals = {"pixels_anchor": 1.0 - 0.1 * place, "vision_anchor": 0.5 + 0.1 * place}
    replans = rows.replans.assign(**{name: one.where(place > 0) for name, one in signals.items()})
    grasp = (place == 1) | ((place == 2) & (replans["initial_state"] < 10 * (2 * near - 1)))
    replans["gripper"] = grasp.astype(float) * 2 if near else 0.0
    return {"libero_spatial": Records(rows.episodes, replans)}


def looks(tokens: float = 0.4, frames: float = 0.2) -> pd.DataFrame:
    """Rank correlations of ten episodes, of thumbnails 0.2."""
    ranks = {"image tokens": tokens, "frames": frames, "thumbnails": 0.2}
    return pd.DataFrame(
        {"mode": mode, "look": look, "camera": camera, "episode": n, "rank": rank + 0.001 * (n * place % 7)}
        for mode in ("full", "prefix")
        for camera in ("both", "wrist")
        for place, (look, rank) in enumerate(ranks.items(), 1)
        for n in range(10)
    )


@pytest.mark.parametrize(
    ("changed", "moments", "older"),
    [
        ({"near_gap": 0}, "supported", "refuted"),
        ({}, "not shown", "refuted"),
        ({"near": 0.0, "near_gap": 0}, "not shown", "refuted"),
        ({"near": 0.0, "near_gap": 80}, "refuted in part", "refuted"),
        ({"thumbnails_age": 3}, "not shown", "supported"),
        ({"thumbnails_age": 2}, "not shown", "not shown"),
    ],
)
def test_verdicts_follow_the_rows(changed, moments, older):
    explained = thumbnails.explanations(records(**changed), looks())
    assert [verdicts.verdict(explained[name]) for name in (MOMENTS, OLDER)] == [moments, older]


def test_the_share_near_grasps_is_that_of_the_replans_that_look_most_alike():
    assert thumbnails.near_grasps(records()["libero_spatial"]).eq(0.5).all()
    assert thumbnails.near_grasps(records(near=1.0)["libero_spatial"]).eq(1.0).all()


def test_the_gap_is_told_with_how_many_of_its_reasons_are_supported():
    rows = records(near_gap=0, thumbnails_age=2)
    assert thumbnails.finding(rows, thumbnails.explanations(rows, looks())) == (
        "**Thumbnails are shown to do worse in 2 of 2 pairs of plain gates with reuse within 5 "
        "points, and better in none.** "
        "**Of 4 reasons why they would do worse, 2 are supported and none refuted.**"
    )
    points = thumbnails.table(rows)["points"]
    assert [one.split(" ")[0] for one in points] == ["-40", "", "-40", "", "0", ""]


@pytest.mark.parametrize(("gap", "worse", "better"), [(40, "2", "none"), (0, "none", "none"), (-10, "none", "2")])
def test_whether_thumbnails_do_worse_is_counted(gap, worse, better):
    rows = records(gap=gap, thumbnails_age=2)
    said = thumbnails.finding(rows, thumbnails.explanations(rows, looks()))
    assert said.startswith(
        f"**Thumbnails are shown to do worse in {worse} of 2 pairs of plain gates with reuse within 5 "
        f"points, and better in {better}.**"
    )


def test_a_pair_of_unequal_reuse_does_not_count():
    """Thumbnails reuse 30 % of replans there, image tokens 50 %."""
    rows = records(thumbnails_age=1)
    assert [*thumbnails.table(rows)["replans that reuse"]][:2] == ["30 %", "50 %"]
    said = thumbnails.finding(rows, thumbnails.explanations(rows, looks()))
    assert said.startswith("**No plain gate on thumbnails reuses as often as its image gate, within 5 points.** **Of 4")


@pytest.mark.parametrize(
    ("measured", "small", "pixels"),
    [
        ({"frames": 0.4}, "supported", "supported"),
        ({"tokens": 0.2}, "not shown", "not shown"),
        ({"tokens": 0.1, "frames": 0.1}, "refuted", "refuted"),
    ],
)
def test_verdicts_on_size_and_pixels_follow_the_ranks(measured, small, pixels):
    explained = thumbnails.explanations(records(), looks(**measured))
    assert [verdicts.verdict(explained[name]) for name in (SMALL, PIXELS)] == [small, pixels]


def elsewhere(*gates: str) -> dict[str, Records]:
    """A second suite: All succeed behind these gates, 80 behind either image gate, which reuse at 20 and 60 %."""
    images = {"vision >= 0.98": 1, "vision >= 0.95": 3}
    rows = {NO_REUSE: [(True, 15, [False] * 5)] * 100}
    rows |= {Setting("full", gate): [(True, 15, [False] + [True] * 3 + [False])] * 100 for gate in gates}
    rows |= {
        Setting("full", gate): [(n < 80, 15, [0 < k <= many for k in range(5)]) for n in range(100)]
        for gate, many in images.items()
    }
    mine = made(rows, "libero_10")
    signals = dict.fromkeys(("pixels_anchor", "vision_anchor"), 1.0 - 0.1 * mine.replans["replan"])
    return {"libero_10": Records(mine.episodes, mine.replans.assign(gripper=0.0, **signals))}


@pytest.mark.parametrize("gates", [(), ("pixels >= 0.9",), ("pixels >= 0.9", "pixels >= 0.93")])
def test_another_suite_is_told_where_it_is_recorded(gates):
    rows = records(thumbnails_age=2) | elsewhere(*gates)
    explained = thumbnails.explanations(rows, looks())
    assert len(explained[OLDER]) == 2 + len(gates)
    assert f"of {2 + len(gates)} pairs" in thumbnails.finding(rows, explained)
    table = thumbnails.table(rows)
    there = table[table.index == "libero_10"]
    assert len(table) == 6 + 2 * len(gates) and (there["replans that reuse"] == "60 %").all()
    assert [*there["gate"]].count("images ≥ 0.95") == len(gates)


def test_every_gate_has_its_row():
    table = thumbnails.table(records())
    assert len(table) == len(SETTINGS) == 6
    row = table[table["gate"] == "thumbnails ≥ 0.9"].iloc[0]
    assert row.drop(["gate", "points"]).tolist() == [
        "50 of 100",
        "30 %",
        "1.3",
    ]  # of five replans one or two reuse: ages 1, and 1 and 2
