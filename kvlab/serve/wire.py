"""Frames of both protocols: msgpack, arrays as maps of bytes, shape and type. Nothing in a frame is executed.

openpi (`packages/openpi-client/src/openpi_client/msgpack_numpy.py`) writes the keys of such a map as bytes,
vla-evaluation-harness (`vla_eval/protocol`) as text, and images as PNG or JPEG.
"""

import io
import math
from dataclasses import dataclass
from functools import partial

import msgpack
import numpy as np
from jaxtyping import UInt8
from PIL import Image

KINDS = "biuf"  # of numpy's types: truth values, whole numbers, floats
PIXELS = 2**24  # of a compressed image, which may unfold to far more than its frame


@dataclass(frozen=True)
class Picture:
    """A compressed image, which is decoded only where it is looked at."""

    data: bytes

    def decoded(self) -> UInt8[np.ndarray, "h w 3"]:
        """ValueError where it is no PNG or JPEG of at most `PIXELS` pixels in colour."""
        try:
            with Image.open(io.BytesIO(self.data), formats=("PNG", "JPEG")) as image:
                if math.prod(image.size) > PIXELS or image.mode != "RGB":
                    raise ValueError(f"it has {image.size} pixels of the kind {image.mode}")
                return np.array(image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # damage, by Pillow
            raise ValueError(f"an image is no PNG or JPEG in RGB of at most {PIXELS} pixels: {error}") from error


def unpack(frame: bytes | str) -> object:
    """What a frame holds. ValueError where it is none of these protocols."""
    if isinstance(frame, str):
        raise ValueError(f"a frame should be binary (msgpack), got text: {frame[:80]!r}")
    try:
        return msgpack.unpackb(frame, object_hook=_decoded)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"a frame of {len(frame)} bytes is not readable msgpack: {error!r}") from error


def pack(message: object, keys: type = bytes) -> bytes:
    """A frame; `keys` of arrays are bytes (openpi's) or str (vla-evaluation-harness')."""
    return msgpack.packb(message, default=partial(_encoded, keys))


def _encoded(keys: type, array: np.ndarray) -> dict:
    told = {"__ndarray__": True, "data": array.tobytes(), "dtype": array.dtype.str, "shape": array.shape}
    return {name.encode() if keys is bytes else name: value for name, value in told.items()}


def _decoded(entry: dict) -> object:
    if not any(mark in entry for mark in _MARKS):
        return entry
    told = {key.decode() if isinstance(key, bytes) else key: value for key, value in entry.items()}
    if "__image__" in told and told["format"] != "raw":
        return Picture(told["data"])
    kind = np.dtype(told["dtype"])
    if kind.kind not in KINDS:
        raise ValueError(f"arrays of {kind} are not taken")
    if "__npgeneric__" in told:
        return kind.type(told["data"])
    return np.frombuffer(told["data"], kind).reshape(told["shape"]).copy()


_NAMES = ("__ndarray__", "__npgeneric__", "__image__")
_MARKS = (*_NAMES, *(name.encode() for name in _NAMES))
