"""Portable numerics: the same bits on every x86-64 processor with AVX2 and FMA.

torch, numpy and Mesa choose kernels by the processor they find, and kernels differ in the order of their sums. The
environment variables here make all choose those of AVX2. They are read when torch and numpy are imported, and so must
be set before: `kvlab.sim.workers` starts its processes with them. What no variable fixes is computed by other means:
products (MKL's differ between vendors) in `kvlab.pi0.portable`, the controller's algebra in `kvlab.sim.osc`.

This module imports neither torch nor numpy.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NUMERICS = ("portable", "native")  # of a study: the former with these variables, the latter as everything comes
INSTRUCTIONS = ("avx2", "fma")  # as /proc/cpuinfo names them
KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": "256",  # kB; by it, and not by what is there, newer versions cut a sum into blocks
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "LP_NATIVE_VECTOR_WIDTH": "256",  # Mesa
}
# Where a sum is cut for threads, it is rounded otherwise; and a worker has one processor core.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def variables(numerics: str) -> dict[str, str]:
    """The environment variables with which a process of these numerics (one of NUMERICS) is to start.

    ValueError for other numerics, OSError where this machine's processor lacks an instruction set that they need.
    """
    if numerics not in NUMERICS:
        raise ValueError(f"numerics must be one of {', '.join(NUMERICS)}, got {numerics!r}")
    if numerics == "native":
        return {}
    check_processor()
    return KERNELS | THREADS


def check_processor(flags: Path = Path("/proc/cpuinfo")) -> None:
    """OSError that names the instruction sets which portable numerics need and this machine's processor lacks."""
    there = set(flags.read_text().split())
    if missing := [name for name in INSTRUCTIONS if name not in there]:
        raise OSError(
            f"portable numerics need a processor with {' and '.join(INSTRUCTIONS).upper()}, and this one lacks "
            f"{' and '.join(missing).upper()}: take numerics 'native', whose rows other machines do not reproduce"
        )


def contrary() -> list[str]:
    """The variables of this process's environment, as NAME=value, that are set to other kernels than the portable."""
    return [f"{name}={os.environ[name]}" for name, value in KERNELS.items() if os.environ.get(name, value) != value]


def is_portable() -> bool:
    """True in a process that was started with portable numerics."""
    return all(os.environ.get(name) == value for name, value in (KERNELS | THREADS).items())


@contextmanager
def environment(numerics: str) -> Iterator[None]:
    """Processes that are started inside have these numerics. What is imported in this one already keeps its own."""
    wanted = variables(numerics)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
