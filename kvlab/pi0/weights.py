"""Reading safetensors files into a model, every tensor accounted for."""

import math
import re
from collections.abc import Container, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from pydantic import Field
from safetensors import safe_open
from torch import Tensor

from kvlab.pi0.entries import Entries
from kvlab.pi0.files import damage_is_named, inside, read_json

Shape = tuple[int, ...]
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")


class Index(Entries):
    """Of weights in several files: which holds each tensor."""

    weight_map: dict[str, str] = Field(min_length=1)


def weight_files(folder: Path) -> list[Path]:
    """`model.safetensors`, or the files that its index names. FileNotFoundError where one is missing."""
    if (whole := folder / WHOLE).is_file() or not (index := folder / INDEX).is_file():
        files = [whole]
    else:
        files = [inside(folder, name) for name in sorted({*Index.read(read_json(index), index).weight_map.values()})]
    if missing := [path.name for path in files if not path.is_file()]:
        raise FileNotFoundError(f"{folder} lacks {_shorten(missing)}")
    return files


def tensor_names(files: Sequence[Path]) -> list[str]:
    """Names of the tensors in safetensors files. ValueError if one is damaged."""
    names = []
    for path in files:
        with damage_is_named(path), safe_open(path, framework="pt") as file:
            names += file.keys()
    return names


def read_weights(
    files: Sequence[Path],
    wanted: Mapping[str, Mapping[str, Shape]],
    spare: Mapping[str, Shape],
    device: str,
    dtype: torch.dtype,
    in_int8: Container[str] = (),
) -> dict[str, Tensor]:
    """Each wanted tensor by our name, put together along its first axis from the named parts in the files.

    `spare` are tensors that the files may hold and nobody reads. Those `in_int8`, by their names in the files, stay so;
    all others are floating-point numbers and come as `dtype`. Raises ValueError where a file is damaged, and one that
    names all tensors that are missing, unexpected, twice there, of another shape or kind of numbers, or not finite;
    MemoryError where they would not fit.
    """
    parts = {name: shape for pieces in wanted.values() for name, shape in pieces.items()}
    source, found, other = {}, {}, {}
    with ExitStack() as stack:
        for path in files:
            with damage_is_named(path):
                file = stack.enter_context(safe_open(path, framework="pt", device=device))
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    piece = file.get_slice(name)
                    if name in source:
                        raise ValueError(f"{path} holds {name}, which another file of these weights holds too")
                    source[name], found[name] = file, tuple(piece.get_shape())
                    if piece.get_dtype() not in (("I8",) if name in in_int8 else FLOATS):
                        other[name] = piece.get_dtype()
        folder = files[0] if len(files) == 1 else files[0].parent
        if told := _problems(found, other, parts, spare):
            raise ValueError(f"{folder} does not fit its config: {told}")
        require_memory(folder, sum(math.prod(shape) for shape in parts.values()), device, dtype)
        tensors = {
            ours: _joined([source[n].get_tensor(n).to(torch.int8 if n in in_int8 else dtype) for n in pieces])
            for ours, pieces in wanted.items()
        }
    if wrong := [ours for ours, tensor in tensors.items() if not _is_finite(tensor)]:
        raise ValueError(f"{folder} holds NaN or infinity, as a training that diverged leaves them: {_shorten(wrong)}")
    return tensors


def require_memory(path: Path, numbers: int, device: str, dtype: torch.dtype) -> None:
    """MemoryError where `device` has less memory free than so many numbers of `dtype` take.

    On a CPU it has to be said beforehand: Linux promises any memory, and ends the process once it is used.
    """
    needed, free = numbers * dtype.itemsize, free_memory(device)
    if needed > free:
        raise MemoryError(
            f"{path} takes {needed / 1e9:.1f} GB as {str(dtype).removeprefix('torch.')}, but {device} has "
            f"{free / 1e9:.1f} GB of memory free: free some, or load it as bfloat16 or where there is more"
        )


def free_memory(device: str) -> float:
    """Bytes that can be had on `device`; infinity where the system does not tell."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    told = re.search(r"MemAvailable:\s*(\d+) kB", table.read_text()) if table.exists() else None
    return int(told[1]) * 1024 if told else math.inf


def _problems(
    found: Mapping[str, Shape], other: Mapping[str, str], parts: Mapping[str, Shape], spare: Mapping[str, Shape]
) -> str:
    known = {**spare, **parts}
    problems = {
        "missing": sorted(parts.keys() - found.keys()),
        "unexpected": sorted(found.keys() - known.keys()),
        "of another shape": [
            f"{k} {found[k]} instead of {known[k]}" for k in sorted(known.keys() & found.keys()) if found[k] != known[k]
        ],
        "of another kind of numbers": [f"{k} ({other[k]})" for k in sorted(parts.keys() & other.keys())],
    }
    return "; ".join(f"{what}: {_shorten(names)}" for what, names in problems.items() if names)


def _is_finite(tensor: Tensor) -> bool:
    """By the extremes, which NaN takes over: without memory of the tensor's size, and much faster in bfloat16."""
    return all(extreme.isfinite() for extreme in tensor.aminmax())


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _shorten(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
