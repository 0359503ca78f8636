"""Portable numerics: where they hold, what they need, and that workers have them and nobody else."""

import os

import pytest

from kvlab import numerics
from kvlab.sim.workers import by_task

CAPABILITY = "__import__('torch').backends.cpu.get_cpu_capability()"
DRAWS = (
    "__import__('kvlab.sim.render').sim.render.Renderer("
    "__import__('mujoco').MjModel.from_xml_string('<mujoco/>'), 'fast', 16)"
)
THREADS = "[name.read_text().strip() for name in __import__('pathlib').Path('/proc/self/task').glob('*/comm')]"


def in_a_worker(expression: str, kind: str = "portable"):
    (found,) = by_task(eval, [(0, [(expression,)])], 1, "asking", "job", numerics=kind)
    return found


def test_a_worker_has_them_and_its_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    before = dict(os.environ)
    assert in_a_worker(CAPABILITY) == "AVX2"
    assert in_a_worker("__import__('kvlab.numerics').numerics.is_portable()")
    assert in_a_worker("__import__('torch').get_num_threads()") == 1
    assert not in_a_worker("__import__('kvlab.numerics').numerics.is_portable()", "native")
    assert os.environ == before and not numerics.is_portable()


def test_a_worker_draws_in_its_own_thread():
    _, threads = in_a_worker(f"[{DRAWS}.driver, {THREADS}]")
    assert threads and not [name for name in threads if name.startswith("llvmpipe")]


def test_what_is_set_against_them_is_named_and_set_aside(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "SkylakeX")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    with pytest.warns(UserWarning, match="ATEN_CPU_CAPABILITY=default, OPENBLAS_CORETYPE=SkylakeX"):
        assert in_a_worker("__import__('os').environ['OPENBLAS_CORETYPE']") == "Haswell"
    assert in_a_worker("__import__('os').environ['OPENBLAS_CORETYPE']", "native") == "SkylakeX"


def test_a_processor_without_avx2_is_told_so(tmp_path):
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu sse4_2 avx fma\n")
    with pytest.raises(OSError, match="a processor with AVX2 and FMA, and this one lacks AVX2: take numerics 'native'"):
        numerics.check_processor(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags\t\t: fpu avx avx2 fma\n")
    numerics.check_processor(tmp_path / "cpuinfo")


def test_other_numerics_are_refused():
    with pytest.raises(ValueError, match="numerics must be one of portable, native, got 'exact'"):
        numerics.variables("exact")
