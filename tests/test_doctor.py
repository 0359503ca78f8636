"""The doctor: tells a machine that kvlab can work on from one that it cannot, and says what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from kvlab import doctor
from kvlab.paths import INSTALLATION, ROOT


@pytest.fixture
def no_driver(monkeypatch):
    """A machine without OpenGL, where apt would be called in a file of the test's own instead."""
    calls = []

    def nothing_drawn() -> doctor.Check:
        backend = os.environ["MUJOCO_GL"]
        return doctor.Check("OpenGL", False, f"no frame with {backend}", doctor.APT_PACKAGES[backend])

    monkeypatch.setattr(doctor, "check_gl", nothing_drawn)
    monkeypatch.setattr(doctor, "install_gl", lambda apt, packages: calls.append((apt, packages)))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None if name == "sudo" else f"/usr/bin/{name}")
    return calls


def test_this_machine_is_well():
    command = [Path(sys.executable).with_name("kvlab"), "doctor"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line.split(":")[0].split() for line in ran.stdout.splitlines()] == [
        ["ok", "python"],
        ["ok", "packages"],
        ["ok", "OpenGL"],
    ]


def test_a_driver_that_does_not_draw_is_reported_and_the_command_fails():
    command = [Path(sys.executable).with_name("kvlab"), "doctor"]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MUJOCO_GL": "nonsense"})
    assert ran.returncode == 1
    assert "MISSING OpenGL: MUJOCO_GL='nonsense' cannot draw off screen: set it to egl or osmesa." in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr


def test_other_versions_than_the_pins_are_named_but_allowed(tmp_path):
    pins = tmp_path / "constraints.txt"
    pins.write_text("# of another day\nmujoco==2.3.7\nnumpy>=1  # any\nnot-installed-here==1.0\n")
    check = doctor.check_packages(pins)
    assert check.ok
    assert check.text.startswith("other versions than the records were made with: mujoco ")
    assert check.text.endswith("(==2.3.7)")


def test_a_wrong_variable_installs_nothing(no_driver, monkeypatch):
    monkeypatch.setattr(doctor, "check_gl", lambda: doctor.Check("OpenGL", False, "MUJOCO_EGL_DEVICE_ID='7' is none"))
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    assert doctor.diagnose(ROOT / "constraints.txt", install=True)[-1].text == "MUJOCO_EGL_DEVICE_ID='7' is none"
    assert no_driver == []


def test_the_pins_are_the_installations_whatever_the_root_is(tmp_path):
    command = [Path(sys.executable).with_name("kvlab"), "doctor"]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"KVLAB_ROOT": str(tmp_path)})
    assert ran.returncode == 0, ran.stderr
    assert "as pinned in constraints.txt" in ran.stdout or "other versions than the records" in ran.stdout


def test_without_pins_the_installation_is_named(tmp_path):
    check = doctor.check_packages(tmp_path / "constraints.txt")
    assert not check.ok and check.text.startswith(f"{tmp_path}/constraints.txt is not there: install kvlab from its")


@pytest.mark.parametrize(("root", "is_"), [("", None), ("~/elsewhere", "elsewhere")])
def test_a_root_may_be_empty_or_in_the_home_folder(tmp_path, root, is_):
    """Empty it is as if it were not set, and not the folder where one happens to be."""
    told = subprocess.run(
        [sys.executable, "-c", "from kvlab.paths import ROOT; print(ROOT)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"KVLAB_ROOT": root, "HOME": str(tmp_path)},
    )
    assert told.stdout.strip() == str(tmp_path / is_ if is_ else INSTALLATION)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy", "pi-zero>=1", 'ruff; extra == "test"'])
    check = doctor.check_packages(ROOT / "constraints.txt")
    assert (check.ok, check.text) == (False, "missing: pi-zero; install with: make setup")


def test_without_root_and_sudo_the_exact_command_is_asked_for(no_driver, monkeypatch):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    check = doctor.diagnose(ROOT / "constraints.txt", install=True)[-1]
    assert no_driver == []
    command = "sudo apt-get install --no-install-recommends libegl1 libgl1-mesa-dri libgl1 libglib2.0-0"
    assert check.text == f"no frame with egl; run: {command}"


def test_as_root_the_driver_of_the_chosen_backend_is_installed(no_driver, monkeypatch):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    doctor.diagnose(ROOT / "constraints.txt", install=False)
    assert no_driver == []
    doctor.diagnose(ROOT / "constraints.txt", install=True)
    assert no_driver == [(["apt-get"], ("libosmesa6", "libgl1", "libglib2.0-0"))]


def test_every_pinned_version_installs_on_any_python_3_11():
    """A pin made on a late 3.11 may refuse an early one, such as the 3.11.2 of Debian 12."""
    needs = {found.name: found.metadata["Requires-Python"] for found in doctor.metadata.distributions()}
    refused = {name: need for name, need in needs.items() if need and not SpecifierSet(need).contains("3.11.0")}
    assert refused == {}
