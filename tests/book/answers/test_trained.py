"""What is said of levers that need training, of made rows and times: other rows, other sentences."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from kvlab.bench.precision import FLOATS
from kvlab.book.answers import trained as answers
from kvlab.book.answers.trained import NO_REUSE, SETTINGS, Lever, Suite
from kvlab.paths import CHECKPOINTS
from kvlab.pi0.int8 import WEIGHTS
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from kvlab.study.times import Latency
from made import TIMES, made

_, TWO, ONE = SETTINGS
WHERE = "libero_spatial"


def solved(*counts: int) -> Records:
    """Of a hundred episodes with 10, 2 and 1 denoising steps so many are solved, the first ones."""
    return made(
        {s: [(n < k, 20, [False] * 4) for n in range(100)] for s, k in zip(SETTINGS, counts, strict=False)}, WHERE
    )


def times(of: float) -> Latency:
    return Latency("a machine", of * TIMES.stages.loc[["none"]])


def suite(**others: tuple[float, Records]) -> dict[str, Suite]:
    """The recorded policy loses 10 episodes with 1 denoising step; others by name with what they take of its time."""
    records = {"first": solved(95, 95, 85)} | {name: one for name, (_, one) in others.items()}
    timed = {"first": times(1)} | {name: times(of) for name, (of, _) in others.items()}
    return {WHERE: Suite("first", records, timed)}


def said(found: dict[str, Suite]) -> list[str]:
    return answers.said(found, answers.places(found, 0.95), 0.05, 0.95)


def test_a_smaller_policy_that_loses_nothing_is_bought():
    """None takes 14.2 ms a control step, 2 steps 7.8: half of that is what the small one takes."""
    found = suite(small=(0.5, solved(95, 95, 60)))
    (told,) = said(found)
    assert told.startswith(
        f"**In `{WHERE}` the cheapest within 5 points by one seed needs training: `small`, 2 denoising steps.**"
    )
    assert "A control step takes 27 % of the inference of `first` without reuse." in told
    assert "Without training it is 2 denoising steps, at 55 %." in told
    assert "It solves as many as with `first` without reuse (" in told
    title = answers.headline(found, answers.places(found, 0.95), 0.05, 0.95)
    assert title == f"Cheapest within 5 points by one seed: small, 2 denoising steps, in {WHERE}"


def test_where_what_is_trained_loses_or_costs_more_nothing_is_bought():
    found = suite(worse=(0.5, solved(80, 80, 80)), dearer=(2, solved(95, 95, 95)))
    (told,) = said(found)
    assert told.startswith(
        f"**In `{WHERE}` training is not shown to make it cheaper.** The cheapest that one seed shows to lose "
        "under 5 points is 2 denoising steps of the recorded policy, at 55 % of its inference without reuse."
    )
    assert answers.headline(found, answers.places(found, 0.95), 0.05, 0.95) == (
        "No other size or precision makes it cheaper within 5 points"
    )


def test_what_was_not_trained_in_a_suite_is_not_said_to_cost_more():
    dear = {WEIGHTS: (2, solved(95, 95, 95))}
    (told,) = said(suite(**dear))
    assert told.startswith(
        f"**In `{WHERE}` int8 is not shown to make it cheaper; no policy of another size was trained there.** The "
    )
    (told,) = said(suite(dearer=(2, solved(95, 95, 95)), **dear))
    assert told.startswith(f"**In `{WHERE}` neither training nor int8 is shown to make it cheaper.**")


def test_the_title_names_what_is_cheapest_in_each_suite():
    """In the second suite it is the recorded policy's."""
    found = suite(small=(0.5, solved(95, 95, 60))) | {"other": suite(dearer=(2, solved(95, 95, 95)))[WHERE]}
    assert answers.headline(found, answers.places(found, 0.95), 0.05, 0.95) == (
        f"Cheapest within 5 points by one seed: small, 2 denoising steps, in {WHERE}; 2 denoising steps of the "
        "recorded policy in other"
    )


def test_int8_is_no_training():
    (told,) = said(suite(**{WEIGHTS: (0.5, solved(95, 95, 60))}))
    assert told.startswith(
        f"**In `{WHERE}` the cheapest within 5 points by one seed is in lower precision: `{WEIGHTS}`, 2 denoising"
    )
    assert "Without training" not in told
    (told,) = said(suite(small=(0.4, solved(95, 95, 60)), **{WEIGHTS: (0.5, solved(95, 95, 60))}))
    assert "needs training: `small`" in told
    assert f"Without training it is `{WEIGHTS}`, 2 denoising steps, at 27 %." in told


def test_it_is_compared_with_every_setting_of_the_chapter():
    """Two steps and ten executed actions take half of what two steps do."""
    long = Setting("none", denoising_steps=2, execute="10")
    others = suite(small=(0.9, solved(95, 95, 60)))
    (one,) = others.values()
    counts = {NO_REUSE: (95, 4), TWO: (95, 4), long: (95, 2)}
    rows = made({s: [(n < k, 20, [False] * replans) for n in range(100)] for s, (k, replans) in counts.items()}, WHERE)
    found = {WHERE: Suite("first", {"first": rows, "small": one.records["small"]}, one.times)}
    (told,) = said(found)
    assert told.startswith(f"**In `{WHERE}` training is not shown to make it cheaper.**")
    assert "is 2 denoising steps, executes 10 of the recorded policy, at 27 %" in told
    assert (
        "2 denoising steps, executes 10"
        in answers.table(found, answers.places(found, 0.95), 0.05, 0.95).setting.to_list()
    )


def test_a_loss_is_paired_with_the_recorded_policy_without_reuse():
    (one,) = suite(small=(0.5, solved(90, 95))).values()
    assert one.lost(Lever("small", NO_REUSE), 0.95).estimate == -0.05
    assert one.lost(Lever("small", TWO), 0.95).estimate == 0
    assert [*one.runs] == [*(Lever("first", s) for s in SETTINGS), Lever("small", NO_REUSE), Lever("small", TWO)]


def test_a_policy_without_a_time_is_left_out_and_named():
    found = suite(small=(0.5, solved(95)))
    (one,) = found.values()
    untimed = {WHERE: Suite("first", one.records, {"first": times(1)})}
    assert answers.places(untimed, 0.95) == {}
    assert said(untimed) == ["No policy of another size or precision is both recorded and timed yet."]
    assert answers.left_out(untimed, {WHERE: ["x/absent"]}) == [
        f"Left out in `{WHERE}`, since not all episodes without reuse are recorded: `absent`.",
        f"Left out in `{WHERE}`, since no time is measured: `small`.",
    ]
    assert answers.left_out(found, {"libero_10": ["x/absent"]}) == []


def test_a_table_has_a_row_for_each_lever_and_a_figure_a_line_for_each_policy():
    found = suite(small=(0.5, solved(95, 95)))
    places = answers.places(found, 0.95)
    table = answers.table(found, places, 0.05, 0.95)
    assert table.index.tolist() == ["small", "first", "small", "first", "first"]
    assert table["ms per control step"].tolist() == ["3.9", "7.0", "7.1", "7.8", "14.2"]
    assert table["points"].tolist()[-1] == "" and table["loss"].tolist()[0] == "under 5"
    fig = answers.figure(found, places)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["the policy of the suite", "small"]
    plt.close(fig)


def test_policies_are_read_by_their_folders_and_int8_by_its_precision():
    first = CHECKPOINTS[WHERE]
    rounded = {(WHERE, FLOATS): solved(95), (WHERE, WEIGHTS): solved(94), ("libero_10", WEIGHTS): solved(90)}
    found = answers.suites(
        {WHERE: solved(95)},
        {WHERE: f"x/{first.name}"},
        {WHERE: [str(first)]},
        rounded,
        times(1),
        {(WHERE, WEIGHTS): times(1)},
        3,
    )
    assert [*found[WHERE].records] == [first.name, WEIGHTS] and [*found[WHERE].times] == [WEIGHTS, first.name]
    assert len(found[WHERE].records[first.name].episodes) == 3 * len(SETTINGS)  # read from its recordings
