"""Portable numerics: the same bits on every x86-64 processor with AVX2 and FMA.

torch, numpy and Mesa choose kernels by the processor they find, and kernels differ in the order of their sums. The
environment variables here make all choose those of AVX2. They are read when torch and numpy are imported, and so must
be set before: `kvlab.sim.workers` starts its processes with them. What no variable fixes is computed by other means:
products (MKL's differ between vendors) in `kvlab.pi0.portable`, the controller's algebra in `kvlab.sim.osc`.

This module imports neither torch nor numpy.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NUMERICS = ("portable", "native")  # of a study: the former with these variables, the latter as everything comes
INSTRUCTIONS = ("AVX2", "FMA")
KERNELS = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_L2_SIZE": "256",  # kB; by it, and not by what is there, newer versions cut a sum into blocks
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "LP_NATIVE_VECTOR_WIDTH": "256",  # Mesa
    "GALLIUM_OVERRIDE_CPU_CAPS": "sse4.1",  # Mesa: with AVX some pixels of a scene were one level apart, AMD and Intel
}
# Where a sum is cut for threads, it is rounded otherwise; and a worker has one processor core, where Mesa draws as well
# in the thread that asks for it (0) as in one that must be waited for.
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1") | {"LP_NUM_THREADS": "0"}


def variables(numerics: str) -> dict[str, str]:
    """The environment variables with which a process of these numerics (one of NUMERICS) is to start.

    What of them is set otherwise in this process is named in a warning. OSError where the processor of this machine
    lacks an instruction set that they need.
    """
    check(numerics)
    if numerics == "native":
        return {}
    check_processor()
    here = {name: os.environ.get(name, value) for name, value in KERNELS.items()}
    if contrary := [f"{name}={value}" for name, value in here.items() if value != KERNELS[name]]:
        warnings.warn(f"portable numerics set aside, in their processes, {', '.join(contrary)}", stacklevel=2)
    return KERNELS | THREADS


def check(numerics: str) -> None:
    """ValueError where `numerics` is none of NUMERICS."""
    if numerics not in NUMERICS:
        raise ValueError(f"numerics must be one of {', '.join(NUMERICS)}, got {numerics!r}")


def check_processor(flags: Path = Path("/proc/cpuinfo")) -> None:
    """OSError that names the instruction sets which portable numerics need and this machine's processor lacks."""
    there = set(flags.read_text().split())
    if missing := [name for name in INSTRUCTIONS if name.lower() not in there]:
        raise OSError(
            f"portable numerics need a processor with {' and '.join(INSTRUCTIONS)}, and this one lacks "
            f"{' and '.join(missing)}: take numerics 'native', whose rows other machines do not reproduce"
        )


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
