"""Frames as the model sees them: scaled to fit, padded with black, in [-1, 1]."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlab.pi0.policy import resize_with_pad

sides, sizes = st.integers(1, 40), st.integers(8, 24)


@settings(deadline=None, max_examples=60)
@given(sides, sides, sizes, st.integers(0, 2**32 - 1))
def test_any_frame_fits(height, width, size, seed):
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = resize_with_pad(frame[None], size)[0]
    assert image.shape == (3, size, size) and image.dtype == torch.float32
    assert -1 <= image.min() and image.max() <= 1


@settings(deadline=None, max_examples=60)
@given(sides, sides, sizes)
def test_a_bright_frame_is_a_centred_rectangle_of_its_aspect(height, width, size):
    image = resize_with_pad(np.full((1, height, width, 3), 255, np.uint8), size)[0]
    lit = image[0] > 0.99
    torch.testing.assert_close(image, torch.where(lit, 1.0, -1.0).expand(3, -1, -1))
    rows, columns = lit.any(1).nonzero()[:, 0], lit.any(0).nonzero()[:, 0]
    assert lit.sum() == len(rows) * len(columns)
    assert max(len(rows), len(columns)) == size
    assert abs(len(rows) - max(1, size * height / max(height, width))) <= 0.5
    assert abs(len(columns) - max(1, size * width / max(height, width))) <= 0.5
    for lines in (rows, columns):
        assert 0 <= (size - 1 - lines[-1]) - lines[0] <= 1  # as much before as after


def test_a_frame_of_the_right_size_keeps_its_pixels():
    frame = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    image = resize_with_pad(frame[None], 8)[0]
    np.testing.assert_allclose((image.permute(1, 2, 0).numpy() + 1) * 127.5, frame, atol=1e-4)


def test_a_mirrored_view_of_memory_is_a_frame():
    """Observations are often flipped views, with negative strides."""
    frame = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    assert torch.equal(resize_with_pad(frame[None, ::-1], 8), resize_with_pad(frame[None, ::-1].copy(), 8))


def test_shrinking_averages_neighbours():
    """Antialiased: stripes one pixel wide in four become a quarter of their brightness, neither stripe nor gap."""
    stripes = np.broadcast_to((np.arange(32) % 4 == 0)[:, None, None] * np.uint8(255), (32, 32, 3))
    assert (resize_with_pad(stripes[None], 8)[0, :, 2:-2, 2:-2] + 0.5).abs().max() < 0.05
