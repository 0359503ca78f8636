"""Suites and tasks by name, with a clear sentence for those that do not exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kvlab.sim import suites
from kvlab.sim.suites import STEP_LIMITS, episode_inputs, initial_states, task, tasks

with suites.quiet():
    from libero import libero


@pytest.mark.parametrize("suite", STEP_LIMITS)
def test_a_suite_has_ten_tasks_and_fifty_distinct_initial_states(suite, capsys):
    tasks.cache_clear()  # what is known already prints nothing
    known = tasks(suite)
    assert [one.index for one in known] == list(range(10))
    assert len({one.language for one in known}) == 10
    assert all(os.path.exists(one.bddl) for one in known)
    states = initial_states(known[9])
    assert states.dtype == np.float64 and states.shape[0] == 50
    assert len(np.unique(states, axis=0)) == 50
    assert capsys.readouterr().out == ""  # LIBERO prints otherwise


@pytest.fixture(autouse=True)
def asked_anew():
    """LIBERO is asked for its suites once in a process, and by every test here."""
    suites._benchmark.cache_clear()


def test_unknown_suite_and_task():
    with pytest.raises(ValueError, match="Unknown suite 'libero_kitchen': known suites are libero_spatial, "):
        tasks("libero_kitchen")
    with pytest.raises(ValueError, match="Unknown task 10 of libero_spatial: known tasks are 0 to 9"):
        task("libero_spatial", 10)


def states_in_another_order(folder: Path) -> None:
    """Another LIBERO's initial states, as its configuration names them."""
    there = folder / "init_files" / "libero_spatial"
    shutil.copytree(Path(libero.__path__[0]) / "init_files" / "libero_spatial", there)
    for path in there.iterdir():
        np.savez(path, states=np.load(path)["states"][::-1])
    (folder / "config.yaml").write_text(f"init_states: {folder / 'init_files'}\n")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (states_in_another_order, "sends LIBERO elsewhere for its init_states, so that other episodes would be run"),
        (lambda folder: (folder / "config.yaml").write_text("assets: [1"), "is no LIBERO configuration"),
        (lambda folder: (folder / "config.yaml").write_text("- assets"), "is no LIBERO configuration"),
        (lambda folder: (folder / "config.yaml").write_text("assets: 3"), "is no LIBERO configuration"),
    ],
)
def test_another_liberos_files_are_never_taken(tmp_path, monkeypatch, config, says):
    """The variable is set in openpi's image."""
    config(tmp_path)
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    with pytest.raises(ValueError, match=f"{tmp_path}/config.yaml {says}.* unset LIBERO_CONFIG_PATH"):
        initial_states(tasks("libero_spatial")[0])


def test_a_configuration_of_the_packages_own_files_is_none(tmp_path, monkeypatch):
    own = {key: f"{path}/" for key, path in libero.get_default_path_dict().items()}
    (tmp_path / "config.yaml").write_text(json.dumps(own))
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    assert initial_states(task("libero_spatial", 0)).shape[0] == 50


# What determines an episode


@pytest.fixture
def fresh():
    """Files are read once in a process; a test that changes some reads them anew."""
    suites._folder_digest.cache_clear()
    yield
    suites._folder_digest.cache_clear()


def test_tasks_differ_in_what_determines_their_episodes():
    inputs = [episode_inputs(one) for one in tasks("libero_spatial")]
    assert len({one["scene"] for one in inputs}) == len({one["initial_states"] for one in inputs}) == 10
    assert {*inputs[0]} == {"scene", "initial_states", "assets"}
    assert len({one["assets"] for one in inputs}) < 10  # they share most things
    assert inputs[0]["assets"] != episode_inputs(task("libero_10", 0))["assets"]
    assert inputs == [episode_inputs(one) for one in tasks("libero_spatial")]


def test_each_part_tells_of_a_change_in_it(tmp_path, monkeypatch, fresh):
    one = task("libero_spatial", 0)
    before = episode_inputs(one)
    scene = tmp_path / "scene.bddl"
    scene.write_text(Path(one.bddl).read_text() + "\n")
    assert changed(before, episode_inputs(replace(one, bddl=str(scene)))) == {"scene"}
    with monkeypatch.context() as patch:
        patch.setattr(suites, "initial_states", lambda task: initial_states(task)[::-1])
        assert changed(before, episode_inputs(one)) == {"initial_states"}


@pytest.mark.parametrize(
    ("asset", "counts"),
    [
        ("stable_scanned_objects/akita_black_bowl/akita_black_bowl.xml", True),
        ("scenes/libero_tabletop_base_style.xml", True),
        ("textures/martin_novak_wood_table.png", True),
        ("stable_scanned_objects/basket/basket.xml", False),
    ],
)
def test_an_asset_counts_where_a_task_has_it(tmp_path, monkeypatch, fresh, asset, counts):
    one, own = task("libero_spatial", 0), Path(libero.get_libero_path("assets"))
    before = episode_inputs(one)
    for folder in own.iterdir():  # linked, but for the file that is changed
        if folder.is_dir():
            shutil.copytree(folder, tmp_path / folder.name, copy_function=lambda a, b: Path(b).symlink_to(a))
    (tmp_path / asset).unlink()
    (tmp_path / asset).write_bytes((own / asset).read_bytes() + b" ")
    monkeypatch.setattr(libero, "get_libero_path", {"assets": str(tmp_path)}.get)
    assert changed(before, episode_inputs(one)) == ({"assets"} if counts else set())


def changed(one: dict, other: dict) -> set[str]:
    return {name for name in one if one[name] != other[name]}


@pytest.mark.parametrize(("suite", "index"), [("libero_spatial", 4), ("libero_10", 3), ("libero_10", 9)])
def test_every_asset_of_a_compiled_scene_is_among_those_that_count(monkeypatch, suite, index):
    from kvlab.sim.env import LiberoEnv

    read, digest, one = [], suites._folder_digest, task(suite, index)
    monkeypatch.setattr(suites, "_folder_digest", lambda folder: read.append(folder) or digest(folder))
    episode_inputs(one)
    assets = Path(libero.get_libero_path("assets"))
    scene = LiberoEnv(one).libero.model.get_xml()
    used = {Path(os.path.normpath(file)) for file in re.findall(r'file="([^"]+)"', scene) if str(assets) in file}
    assert len(used) > 10 and all(any(path.is_relative_to(folder) for folder in read) for path in used)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MUJOCO_GL": "glfw"}, "set it to egl or osmesa"),
        ({"MUJOCO_GL": "egl", "PYOPENGL_PLATFORM": "egl"}, "apt-get install -y libegl1"),
    ],
)
def test_a_missing_driver_is_named_with_its_cure(environment, says):
    """In a process where the GL library cannot be found, as on a machine without one."""
    script = (
        "import ctypes.util, ctypes\n"
        "ctypes.util.find_library = lambda name: None\n"
        "load = ctypes.CDLL.__init__\n"
        "def refuse(self, name, *a, **k):\n"
        "    if name and any(part in str(name) for part in ('EGL', 'OSMesa', 'libGL')): raise OSError(name)\n"
        "    load(self, name, *a, **k)\n"
        "ctypes.CDLL.__init__ = refuse\n"
        "try:\n"
        "    from kvlab.sim.suites import tasks\n"
        "    tasks('libero_spatial')\n"
        "except (OSError, ValueError) as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | environment)
    assert says in run.stdout and run.stdout.count("\n") == 1, run.stderr


REFUSED = {
    "the log of another user": (
        "import logging\n"
        "def refuse(self, path, *others):\n"
        "    raise PermissionError(13, 'Permission denied', path)\n"
        "logging.FileHandler.__init__ = refuse\n",
        "built",
    ),
    "a place for compiled functions": (
        "from numba.core import caching\ncaching.CacheImpl._locator_classes = []\n",
        "OSError: cannot cache function '.*': .* set NUMBA_CACHE_DIR to a folder that can be written",
    ),
    "a home folder": (
        "import pathlib\n"
        "def home(*_):\n"
        "    raise RuntimeError('Could not determine home directory.')\n"
        "pathlib.Path.home = home\n",
        "ValueError: LIBERO cannot be imported, set HOME if it lacks a home folder: Could not determine home.*",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_system_refuses_is_not_needed_or_named(what):
    """As to a user without a home folder, on a machine that another one installed."""
    refuse, says = REFUSED[what]
    script = refuse + (
        "try:\n"
        "    from kvlab.sim.env import LiberoEnv\n"
        "    from kvlab.sim.suites import task\n"
        "    LiberoEnv(task('libero_spatial', 0))\n"
        "    print('built')\n"
        "except (OSError, ValueError) as error:\n"
        "    print(f'{type(error).__name__}: {error}')\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert re.fullmatch(says, run.stdout.strip()), run.stderr
