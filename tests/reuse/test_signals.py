"""Similarities: cosines with known angles."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kvlab.reuse.signals import cosine, similarities, thumbnails

VECTORS = arrays("float32", (2, 3), elements=st.floats(-100, 100, width=32))


@settings(deadline=None)
@given(VECTORS, VECTORS)
def test_cosine_is_symmetric_and_bounded(a, b):
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    assert -1 <= cosine(a, b) <= 1
    assert cosine(a, b) == cosine(b, a)
    assert cosine(a, 3 * b) == pytest.approx(cosine(a, b), abs=1e-5)
    assert cosine(a, -b) == pytest.approx(-cosine(a, b), abs=1e-12)


@settings(deadline=None)
@given(VECTORS)
def test_equal_tensors_have_a_cosine_of_exactly_one(values):
    """So that a threshold of 1 means unchanged."""
    a = torch.from_numpy(values)
    assert cosine(a, a.clone()) == (1.0 if a.any() else 0.0)


@pytest.mark.parametrize("degrees", [0.01, 1, 30, 90, 120, 180])
def test_cosine_of_a_known_angle(degrees):
    """In float64: the smallest of these angles is lost in float32."""
    angle = math.radians(degrees)
    turned = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert cosine(torch.tensor([2.0, 0.0]), turned) == pytest.approx(math.cos(angle), abs=1e-12)


def test_thumbnails_are_means_over_squares():
    images = torch.randn(2, 3, 64, 64)
    small = thumbnails(images)
    assert small.shape == (2, 3, 16, 16)
    torch.testing.assert_close(small[1, 2, 3, 5], images[1, 2, 12:16, 20:24].mean())


def test_only_what_is_asked_for_is_compared():
    now, anchor = {"state": torch.tensor([1.0, 0.0])}, {"state": torch.tensor([0.0, 1.0])}
    values = similarities(["state_anchor", "state_previous"], now, anchor, now)
    assert values == {"state_anchor": 0.0, "state_previous": 1.0}
    assert math.isnan(similarities(["state_anchor"], now, None, None)["state_anchor"])
    assert similarities([], {}, None, None) == {}
