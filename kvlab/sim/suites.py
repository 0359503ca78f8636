"""LIBERO suites and tasks: names, instructions, problem files, official initial states and step limits."""

import contextlib
import hashlib
import io
import logging
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from kvlab.sim.gl import no_driver

# Longest demonstration of each suite, rounded up: the limits of the published LIBERO evaluations (openpi, OpenVLA).
STEP_LIMITS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520}
OWN_PATHS = ("bddl_files", "init_states", "assets")  # LIBERO's names for where that lies which determines an episode
# Folders of assets that tasks share, and those with a folder for each thing, named as problem files name the thing.
SHARED = ("articulated_objects", "scenes", "textures")
THINGS = ("custom_objects", "stable_hope_objects", "stable_scanned_objects", "turbosquid_objects")


@dataclass(frozen=True)
class Task:
    """One task of a suite: `index` as in the published order, `language` the instruction, `bddl` the problem file."""

    suite: str
    index: int
    name: str
    language: str
    bddl: str


@contextlib.contextmanager
def quiet():
    """Swallow what LIBERO prints and robosuite warns about (task orders, missing macro files).

    Nor does robosuite open its log as it is imported: it lies in /tmp and may be another user's.
    """
    before, to_file = logging.root.manager.disable, logging.FileHandler
    logging.disable(logging.WARNING)
    logging.FileHandler = lambda path: logging.NullHandler()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
        logging.FileHandler = to_file


@contextlib.contextmanager
def compiling():
    """OSError that names the cure where Numba, as it meets a function to compile, finds no place to keep it.

    So where neither the installation nor a home folder can be written.
    """
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"{error}: set NUMBA_CACHE_DIR to a folder that can be written") from error


@cache
def _benchmark(suite: str):
    if suite not in STEP_LIMITS:
        raise ValueError(f"Unknown suite {suite!r}: known suites are {', '.join(STEP_LIMITS)}.")
    with quiet():
        try:
            from libero.libero.benchmark import get_benchmark
        except ImportError as error:
            if ".so" in str(error):  # OpenCV's system libraries
                raise no_driver() from error
            raise
        except RuntimeError as error:
            raise ValueError(f"LIBERO cannot be imported, set HOME if it lacks a home folder: {error}") from error
        _check_paths()
        return get_benchmark(suite)()


def _check_paths() -> None:
    """ValueError where LIBERO would take scenes, initial states or assets from elsewhere than its own package.

    A configuration of another LIBERO, whose initial states may stand in another order, would give other episodes under
    the same names.
    """
    from libero.libero import get_default_path_dict, get_libero_path, libero_config_path

    where = os.environ.get("LIBERO_CONFIG_PATH", libero_config_path)
    own = get_default_path_dict()
    try:
        astray = [key for key in OWN_PATHS if os.path.realpath(get_libero_path(key)) != os.path.realpath(own[key])]
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{where}/config.yaml is no LIBERO configuration: unset LIBERO_CONFIG_PATH.") from error
    if astray:
        raise ValueError(
            f"{where}/config.yaml sends LIBERO elsewhere for its {', '.join(astray)}, so that other episodes would be "
            "run under the same names: unset LIBERO_CONFIG_PATH, or take the file away."
        )


@cache
def tasks(suite: str) -> tuple[Task, ...]:
    """All tasks of a suite in the published order.

    Raises ValueError for an unknown suite, OSError where no GL driver is installed.
    """
    benchmark = _benchmark(suite)
    return tuple(
        Task(suite, i, entry.name, entry.language, os.path.normpath(benchmark.get_task_bddl_file_path(i)))
        for i, entry in enumerate(benchmark.tasks)
    )


def task(suite: str, index: int) -> Task:
    """The task at `index` of a suite; ValueError if either is unknown."""
    known = tasks(suite)
    if not 0 <= index < len(known):
        raise ValueError(f"Unknown task {index} of {suite}: known tasks are 0 to {len(known) - 1}.")
    return known[index]


def initial_states(task: Task) -> Float64[np.ndarray, "50 n"]:
    """The official initial states of a task, one row each: time (s), joint positions, joint velocities."""
    with quiet():
        return np.asarray(_benchmark(task.suite).get_task_init_states(task.index))


def episode_inputs(task: Task) -> dict[str, str]:
    """What determines a task's episodes besides versions, as SHA-256 (first 16 hex digits): `scene` is its problem
    file, `initial_states` all of them, `assets` the meshes, textures and XML that LIBERO may load for it.

    Read once in a process, as the environments are that use them; the first task takes about 0.3 s. The robot's own
    files are robosuite's, and told by its version.
    """
    from libero.libero import get_libero_path

    scene, assets = Path(task.bddl).read_bytes(), Path(get_libero_path("assets"))
    words = set(re.findall(r"\w+", scene.decode()))
    folders = [assets / name for name in SHARED]
    folders += [path for name in THINGS for path in sorted((assets / name).iterdir()) if path.name in words]
    told = "".join(_folder_digest(folder) for folder in folders)
    inputs = {"scene": scene, "initial_states": initial_states(task).tobytes(), "assets": told.encode()}
    return {name: hashlib.sha256(content).hexdigest()[:16] for name, content in inputs.items()}


@cache
def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder.parent).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
