"""Frames: arrays come out as they went in, by both protocols; what is no frame is refused in one sentence."""

import io

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from kvlab.serve.wire import PIXELS, Picture, pack, unpack

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


@given(arrays.arrays(st.sampled_from(["u1", "<f4", "<f8", "<i8", "?"]), SHAPES), st.sampled_from([bytes, str]))
def test_an_array_comes_back_to_the_bit(array, keys):
    found = unpack(pack({"a": array, "b": [1.5, "text", None]}, keys))
    assert found["a"].dtype == array.dtype and found["a"].shape == array.shape
    assert found["a"].tobytes() == array.tobytes() and found["b"] == [1.5, "text", None]
    assert found["a"].flags.writeable


def test_numbers_of_numpy_come_back():
    frame = msgpack.packb({b"__npgeneric__": True, b"data": 2.5, b"dtype": "<f4"})
    assert unpack(frame) == np.float32(2.5) and isinstance(unpack(frame), np.float32)


def png(mode: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    return file.getvalue()


def test_an_image_is_decoded_when_it_is_looked_at():
    frame = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    sent = msgpack.packb({"__image__": True, "format": "png", "data": file.getvalue(), "shape": [9, 7, 3]})
    assert (unpack(sent).decoded() == frame).all()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", png("L", (9, 9)), png("RGB", (9, 9))[:40], png("RGB", (1, PIXELS + 1))],
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises(ValueError, match="an image is no PNG or JPEG in RGB"):
        Picture(data).decoded()


def array(**changes) -> bytes:
    told = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [2]} | changes
    return msgpack.packb({"a": {key: value for key, value in told.items() if value is not None}})


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("text", "should be binary"),
        (b"", "not readable msgpack"),
        (b"\xc1", "not readable msgpack"),
        (msgpack.packb({"a": 1})[:-1], "not readable msgpack"),
        (b"\x80\x80", "not readable msgpack"),
        (b"\x91" * 100_000, "not readable msgpack"),
        (b"\xdd\xff\xff\xff\xff", "not readable msgpack"),
        (msgpack.packb({1: 2}), "not readable msgpack"),
        (array(dtype="O"), "arrays of object are not taken"),
        (array(dtype="V4"), "are not taken"),
        (array(dtype="<c8"), "arrays of complex64 are not taken"),
        (array(dtype="nothing"), "not readable msgpack"),
        (array(dtype=None), "KeyError"),
        (array(shape=[3]), "cannot reshape"),
        (array(shape=[2**62, 2**62]), "not readable msgpack"),
        (array(data=bytes(7)), "not readable msgpack"),
        (array(data="text"), "not readable msgpack"),
    ],
)
def test_what_is_no_frame_is_refused(frame, says):
    with pytest.raises(ValueError, match=says):
        unpack(frame)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(frame):
    try:
        unpack(frame)
    except ValueError:
        pass
