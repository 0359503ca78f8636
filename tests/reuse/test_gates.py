"""Gates: written, read back, opened and shut."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlab.reuse import parse_gate
from kvlab.reuse.gates import SIMILARITIES

SPACES = st.sampled_from(["", " ", "  "])


@st.composite
def comparisons(draw) -> tuple[str, str, float]:
    """A comparison as text, and what it means: the signal and its bound."""
    left, right = draw(SPACES), draw(SPACES)
    kind = draw(st.sampled_from(["vision", "pixels", "state", "age", "every", "replan"]))
    if kind == "replan":
        bound = draw(st.integers(2, 999))
        return f"every({left}{bound}{right},{left}{bound - 1}{right})", "replan" if bound > 2 else "age", bound
    if kind == "every":
        bound = draw(st.integers(1, 999))
        return f"every({left}{bound}{right})", "age", bound
    if kind == "age":
        bound = draw(st.integers(1, 999))
        return f"age{left}<{right}{bound}", "age", bound
    bound = draw(st.floats(-1, 1))
    suffix, reference = draw(st.sampled_from([("", "anchor"), ("@anchor", "anchor"), ("@previous", "previous")]))
    return f"{kind}{suffix}{left}>={right}{bound!r}", f"{kind}_{reference}", bound


@st.composite
def gates(draw) -> tuple[str, list[tuple[str, float]]]:
    terms = draw(st.lists(comparisons(), min_size=1, max_size=4))
    joints = [f"{draw(SPACES)}&{draw(SPACES)}" for _ in terms]
    text = "".join(joint + term for joint, (term, _, _) in zip(["", *joints], terms, strict=False))
    return draw(SPACES) + text + draw(SPACES), [(signal, bound) for _, signal, bound in terms]


@settings(deadline=None)
@given(gates())
def test_round_trip(gate):
    text, terms = gate
    parsed = parse_gate(text)
    assert [(t.signal, t.bound) for t in parsed.terms] == terms
    assert parse_gate(str(parsed)) == parsed
    assert str(parse_gate(str(parsed))) == str(parsed)


@settings(deadline=None)
@given(
    gates(),
    st.fixed_dictionaries(
        {s: st.floats(-1, 1) for s in SIMILARITIES} | {"age": st.integers(1, 1000), "replan": st.integers(0, 3000)}
    ),
)
def test_opens_where_every_comparison_holds(gate, signals):
    text, terms = gate
    last = {bound: signals["replan"] % bound == bound - 1 for signal, bound in terms if signal == "replan"}
    holds = {"age": lambda s, bound: signals[s] < bound, "replan": lambda _, bound: last[bound]}
    expected = all(holds.get(s, lambda s, bound: signals[s] >= bound)(s, bound) for s, bound in terms)
    assert parse_gate(text).opens(signals) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("always", "never", "every(4)", "vision >= 0.985", "vision@previous >= 0.985", "state >= -1", "pixels >= 1"),
        *("vision >= 0.98 & state >= 0.98", "pixels >= 0.99 & age < 10", "age < 1", "vision >= 0.98765432109876"),
        *("every(4, 3)", "every(20, 10) & gripper < 1"),
        *("distance <= 0.3", "settled <= 1e-05", "verify <= 0.15 & gripper < 1", "every(2) & curvature < 0.5"),
    ],
)
def test_printed_as_written(text):
    assert str(parse_gate(text)) == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("vision>=0.9850", "vision >= 0.985"),
        ("  vision@anchor  >=\n.5&age<010 ", "vision >= 0.5 & age < 10"),
        ("every( 3 )", "every(3)"),
        ("every(3, 1)", "every(3)"),
        ("every( 08,07 )", "every(8, 7)"),
        ("state >= 1.0", "state >= 1"),
        ("state >= 1e-3", "state >= 0.001"),
    ],
)
def test_two_ways_to_write_a_gate_print_the_same(text, printed):
    assert str(parse_gate(text)) == printed


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "&", "vision", "vision >= ", ">= 0.9", "vision > 0.9", "vision < 0.9", "vision >= nan"),
        *("vision >= inf", "vision >= -inf", "vision >= 0.9 &", "& vision >= 0.9", "vision >= 0.9 && age < 3"),
        *("vision >= 0.9 age < 3", "vision >= 0.9, age < 3", "vision >= 0.9 # strict", "vision >= 0.9)", "x >= 0.9"),
        *("vision@later >= 0.9", "vision@ >= 0.9", "Vision >= 0.9", "age@anchor < 3", "age >= 3", "age <= 3"),
        *("gripper <= 1", "settled < 0.1", "verify >= 0.1", "distance@previous <= 1", "distance <= -1", "age <= 0.5"),
        *(
            "age < 3.5",
            "age < -1",
            "every",
            "every()",
            "every(-1)",
            "every(2.5)",
            "every(2) 3",
            "every(,2)",
            "every(3, )",
            "every(4, 2, 1)",
            "always & age < 3",
        ),
        *("never & vision >= 0.9", "ALWAYS", "always always", "vision >= 0.9; import os"),
    ],
)
def test_text_that_is_no_gate(text):
    with pytest.raises(ValueError, match="cannot read '.*' in the gate .*: a gate is `always`, `never`, `every"):
        parse_gate(text)


@pytest.mark.parametrize("text", ["vision >= 0.9.8", "state >= ."])
def test_a_threshold_that_is_no_number(text):
    with pytest.raises(ValueError, match="is not a number"):
        parse_gate(text)


@pytest.mark.parametrize("number", ["1.01", "-1.5", "98.5", "985", "1e9", "1e999"])
def test_a_threshold_that_no_cosine_reaches(number):
    with pytest.raises(ValueError, match=rf"'vision >= {number}' is outside \[-1, 1\], the range of a cosine"):
        parse_gate(f"age < 3 & vision >= {number}")


@pytest.mark.parametrize("text", ["every(0)", "age < 0", "vision >= 0.9 & every(00)", "every(3, 0)", "every(0, 1)"])
def test_a_count_of_nothing(text):
    with pytest.raises(ValueError, match="needs a whole number above 0"):
        parse_gate(text)


@pytest.mark.parametrize("text", ["every(3, 3)", "every(2, 9)"])
def test_a_clock_that_always_computes(text):
    with pytest.raises(ValueError, match=r"'every\(.*\)' never reuses: of [23] replans at most [12] may be computed"):
        parse_gate(text)


@pytest.mark.parametrize("value", [None, 0.985, True, b"always", ["vision >= 0.9"], math.nan])
def test_a_gate_is_text(value):
    with pytest.raises(ValueError, match="a gate is written as text, got "):
        parse_gate(value)


def test_what_was_never_compared_opens_no_threshold():
    unknown = dict.fromkeys(SIMILARITIES, math.nan) | {"age": 1}
    for name in ("vision", "pixels", "state@previous"):
        assert not parse_gate(f"{name} >= -1").opens(unknown)


@pytest.mark.parametrize(
    ("text", "signal", "at_the_limit"),
    [("distance <= 0.3", "distance", True), ("settled <= 0.3", "settled", True), ("verify <= 0.3", "verify", True)]
    + [(f"{phase} < 0.3", phase, False) for phase in ("gripper", "curvature", "spread")],
)
def test_limits_from_above(text, signal, at_the_limit):
    gate = parse_gate(text)
    assert gate.opens({signal: 0.29}) and gate.opens({signal: 0.3}) is at_the_limit
    assert not gate.opens({signal: 0.31}) and not gate.opens({signal: math.nan})
    assert gate.phases == (set() if at_the_limit else {signal}) and gate.reads == ({signal} if at_the_limit else set())


def test_reads():
    assert parse_gate("vision >= 0.9 & state@previous >= 0.8 & age < 4").reads == {"vision_anchor", "state_previous"}
    for text in ("always", "never", "every(4)", "every(4, 2)", "age < 2"):
        assert not parse_gate(text).reads
