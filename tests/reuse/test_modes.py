"""Modes as text: what exists, and sentences for what does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlab.reuse import CachedPolicy, parse_gate, parse_mode

WHOLE = ("none", "full", "prefix")
PARTIAL = ("vision_only", "state_only", "layer_wise", "text_fixed")
LAYERS = st.builds(lambda k, low: f"[:{k}]" if low else f"[{k}:]", st.integers(1, 40), st.booleans())
MODES = st.one_of(
    st.sampled_from(WHOLE),
    st.builds(lambda name: f"{name}:splice", st.sampled_from(PARTIAL)),
    st.builds(lambda name: f"{name}:skip", st.sampled_from([n for n in PARTIAL if n != "layer_wise"])),
    st.builds(lambda layers: f"layer_wise{layers}:splice", LAYERS),
    st.builds(lambda k: f"layer_wise[{k}:]:skip", st.integers(0, 40)),
)


@settings(deadline=None)
@given(MODES)
def test_round_trip(text):
    mode = parse_mode(text)
    assert str(mode) == text and parse_mode(str(mode)) == mode
    assert mode.splice == text.endswith("splice")
    assert parse_mode(f" {text}\n") == mode


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 31), st.booleans())
def test_layers(depth, k, low):
    mode = parse_mode(f"layer_wise[:{k}]:splice" if low else f"layer_wise[{k}:]:splice")
    expected = range(depth)[:k] if low else range(depth)[k:]
    if expected and k <= depth:
        assert range(depth)[mode.layer_range(depth)] == expected
    else:
        with pytest.raises(ValueError, match=rf"names layers that a prefix of {depth} layers does not have"):
            mode.layer_range(depth)


@pytest.mark.parametrize(("depth", "half"), [(2, 1), (5, 2), (18, 9)])
def test_layer_wise_is_the_lower_half(depth, half):
    assert parse_mode("layer_wise:splice").layer_range(depth) == slice(0, half)


@pytest.mark.parametrize("text", WHOLE + tuple(f"{n}:splice" for n in PARTIAL if n != "layer_wise"))
def test_other_modes_are_of_all_layers(text):
    assert parse_mode(text).layer_range(5) == slice(0, 5)


@pytest.mark.parametrize(
    "text",
    ["", "FULL", "fuller", "full!", "full:", ":skip", "vision_only:skip:skip", "vision only:skip", "none none"]
    + ["layer_wise[1:2:3]:splice", "layer_wise[-1:]:splice", "layer_wise[a:]:splice", "layer_wise[2]:splice"]
    + ["state:skip", None, 3, b"full", ["full"]],
)
def test_an_unknown_mode(text):
    with pytest.raises(ValueError, match="unknown mode .*: modes are none, full, .*, the partial ones with :splice or"):
        parse_mode(text)


@pytest.mark.parametrize("name", PARTIAL)
def test_a_partial_mode_says_how(name):
    with pytest.raises(ValueError, match=f"'{name}' does not say how: write {name}:splice or {name}:skip"):
        parse_mode(name)
    with pytest.raises(ValueError, match=f"'{name}:copy' does not say how"):
        parse_mode(f"{name}:copy")


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_mode_has_one_way(name):
    with pytest.raises(ValueError, match=f"'{name}' has one implementation only: write '{name}' in place of"):
        parse_mode(f"{name}:skip")


@pytest.mark.parametrize("text", ["full[:2]", "vision_only[2:]:skip", "text_fixed[:1]:splice"])
def test_layers_of_another_mode(text):
    with pytest.raises(ValueError, match=r"only layer_wise\[:k\] and layer_wise\[k:\] exist"):
        parse_mode(text)


@pytest.mark.parametrize("layers", ["[1:2]", "[0:2]", "[:]"])
def test_layers_from_the_middle(layers):
    with pytest.raises(ValueError, match=r"only layer_wise\[:k\] and layer_wise\[k:\] exist"):
        parse_mode(f"layer_wise{layers}:splice")


@pytest.mark.parametrize("text", ["layer_wise:skip", "layer_wise[:2]:skip"])
def test_lower_layers_cannot_be_skipped_and_the_error_says_why(text):
    with pytest.raises(
        ValueError, match=r"the layers above need fresh inputs, which come out of the layers below; use"
    ):
        parse_mode(text)


@pytest.mark.parametrize("text", ["layer_wise[:4]:splice", "layer_wise[3:]:skip", "layer_wise[:0]:splice"])
def test_layers_that_the_model_does_not_have(policy, text):
    """Told before the first episode."""
    with pytest.raises(ValueError, match="names layers that a prefix of 3 layers does not have"):
        CachedPolicy(policy, parse_mode(text), parse_gate("always"))
