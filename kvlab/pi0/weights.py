"""Reading a safetensors file into a model, every tensor accounted for."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

Shape = tuple[int, ...]


def tensor_names(path: Path) -> list[str]:
    """Names of the tensors in a safetensors file. ValueError if it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except SafetensorError as error:
        raise ValueError(_damaged(path, error)) from error


def read_weights(
    path: Path,
    wanted: Mapping[str, Mapping[str, Shape]],
    spare: Mapping[str, Shape],
    device: str,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Each wanted tensor by our name, put together along its first axis from the named parts of the file.

    `spare` are tensors that the file may hold and nobody reads. Raises ValueError where the file is damaged, and one
    that names all tensors that are missing, unexpected or of another shape; MemoryError where they would not fit.
    """
    parts = {name: shape for pieces in wanted.values() for name, shape in pieces.items()}
    try:
        with safe_open(path, framework="pt", device=device) as file:
            found = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118 (not a dict)
            if told := _problems(found, parts, spare):
                raise ValueError(f"{path} does not fit its config: {told}")
            require_memory(path, sum(math.prod(shape) for shape in parts.values()), device, dtype)
            return {
                ours: _joined([file.get_tensor(name).to(dtype) for name in pieces]) for ours, pieces in wanted.items()
            }
    except SafetensorError as error:
        raise ValueError(_damaged(path, error)) from error


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


def _problems(found: Mapping[str, Shape], parts: Mapping[str, Shape], spare: Mapping[str, Shape]) -> str:
    known = {**spare, **parts}
    problems = {
        "missing": sorted(parts.keys() - found.keys()),
        "unexpected": sorted(found.keys() - known.keys()),
        "of another shape": [
            f"{k} {found[k]} instead of {known[k]}" for k in sorted(known.keys() & found.keys()) if found[k] != known[k]
        ],
    }
    return "; ".join(f"{what}: {_shorten(names)}" for what, names in problems.items() if names)


def _joined(pieces: list[Tensor]) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def _damaged(path: Path, error: SafetensorError) -> str:
    return f"{path} is truncated or not a safetensors file: {error}"


def _shorten(names: list[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
