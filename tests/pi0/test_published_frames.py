"""Frames as openpi and LeRobot shrink them, both restated here."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from kvlab.pi0.policy import bin_numbers, resize_with_pad, shrink_as_pil

SHAPES = [(256, 256), (240, 320), (320, 240), (480, 640), (200, 100), (97, 131)]
SIZE = 224


def picture(height: int, width: int) -> np.ndarray:
    """Smooth areas, hard edges and noise."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[0:height, 0:width] / 32
    waves = 100 + 60 * np.stack([np.sin(x + y), np.cos(x), np.sin(3 * y)], -1) + 40 * (x.astype(int) % 2)[..., None]
    return (waves + rng.normal(0, 8, waves.shape)).clip(0, 255).astype(np.uint8)


def by_openpi(frame: np.ndarray) -> np.ndarray:
    """`image_tools.resize_with_pad` (PIL, whole numbers), then to [-1, 1] as `Observation.from_dict` does."""
    height, width = frame.shape[:2]
    ratio = max(width / SIZE, height / SIZE)
    new = (int(width / ratio), int(height / ratio))
    canvas = Image.new("RGB", (SIZE, SIZE), 0)
    small = Image.fromarray(frame).resize(new, resample=Image.BILINEAR)
    canvas.paste(small, ((SIZE - new[0]) // 2, (SIZE - new[1]) // 2))
    return np.asarray(canvas).astype(np.float32) / 255 * 2 - 1


def by_lerobot(frame: np.ndarray) -> np.ndarray:
    """`resize_with_pad_torch` on [0, 1], then to [-1, 1] as `_preprocess_images` does."""
    x = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    height, width = frame.shape[:2]
    ratio = max(width / SIZE, height / SIZE)
    new = (int(height / ratio), int(width / ratio))
    x = F.interpolate(x, size=new, mode="bilinear", align_corners=False).clamp(0, 1)
    (top, more), (left, wide) = (divmod(SIZE - n, 2) for n in new)
    return (F.pad(x, (left, left + wide, top, top + more))[0].permute(1, 2, 0) * 2 - 1).numpy()


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_rounded_is_openpis(height, width):
    frame = picture(height, width)
    ours = resize_with_pad(frame[None], SIZE, "rounded")[0].permute(1, 2, 0).numpy()
    levels = np.abs(ours - by_openpi(frame)) * 127.5
    assert levels.max() < 1.01 and levels.mean() < 0.01  # one level of 255 where a half is rounded


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_products_on_a_gpu_are_pils(height, width):
    frame, new = picture(height, width), (height * 7 // 8, width * 5 // 8)
    ours = shrink_as_pil(torch.from_numpy(frame).permute(2, 0, 1)[None], new)[0].permute(1, 2, 0).numpy()
    pils = np.asarray(Image.fromarray(frame).resize(new[::-1], resample=Image.BILINEAR))
    np.testing.assert_array_equal(ours, pils)


@pytest.mark.parametrize("way", ["smooth", "rounded", "sampled"])
def test_frames_shrink_on_the_device_that_is_asked_for(way):
    """On `meta`, where nothing is computed, but numbers of another device are refused as a GPU would."""
    pixels = resize_with_pad(picture(240, 320)[None], SIZE, way, "meta")
    assert pixels.is_meta and pixels.shape == (1, 3, SIZE, SIZE) and pixels.dtype == torch.float32


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_sampled_is_lerobots(height, width):
    frame = picture(height, width)
    ours = resize_with_pad(frame[None], SIZE, "sampled")[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(ours, by_lerobot(frame), atol=1e-6)


def test_the_three_ways_differ():
    """Else the two tests above would say little."""
    frame = picture(480, 640)
    smooth, rounded, sampled = (resize_with_pad(frame[None], SIZE, way)[0] for way in ("smooth", "rounded", "sampled"))
    assert (smooth - rounded).abs().max() > 1e-3 and (smooth - sampled).abs().max() > 0.05


@pytest.mark.parametrize("way", ["smooth", "rounded", "sampled"])
def test_a_frame_of_the_right_size_keeps_its_pixels(way):
    frame = picture(SIZE, SIZE)
    pixels = resize_with_pad(frame[None], SIZE, way)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose((pixels + 1) * 127.5, frame, atol=1e-4)


def test_bins_of_the_state():
    """`np.digitize` over 256 bins from -1 to 1, less one: each bin holds its lower edge."""
    edges = -1 + np.arange(256) / 128
    assert bin_numbers(edges.astype(np.float32)).tolist() == list(range(256))
    assert bin_numbers(np.float32([-1.01, -0.9999, 0.9999, 1, 3])).tolist() == [-1, 0, 255, 255, 255]
