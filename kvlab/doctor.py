"""Checks what kvlab needs of a machine: Python, the pinned packages, and OpenGL that draws without a screen."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Mesa's software driver by its two ways, and what OpenCV (which robosuite imports) links to.
_OPENCV = ("libgl1", "libglib2.0-0")
APT_PACKAGES = {"egl": ("libegl1", "libgl1-mesa-dri", *_OPENCV), "osmesa": ("libosmesa6", *_OPENCV)}

# What the first episode of a run does until its first frame. In a process of its own: MUJOCO_GL is read at import, and
# a broken driver may end the process.
_DRAW = """
import sys
try:
    from kvlab.sim.env import LiberoEnv
    from kvlab.sim.suites import task
    env = LiberoEnv(task("libero_spatial", 0))
    env.reset(0, 0)
    frame = env.observe().images["agentview"]
except (OSError, ValueError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
if frame.min() == frame.max():
    sys.exit("OSError: the frame that was drawn is empty")
print(env.drawn_by)
"""


@dataclass(frozen=True)
class Check:
    """One line of the report; `ok` is False only for what kvlab cannot work with, which `packages` of apt may mend."""

    name: str
    ok: bool
    text: str
    packages: tuple[str, ...] = ()


def check_python() -> Check:
    """Python 3.11 or newer."""
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, version if ok else f"found {version}, kvlab needs 3.11 or newer")


def check_packages(constraints: Path) -> Check:
    """What kvlab requires is installed; versions other than the pins in `constraints` are named, but allowed."""
    if not constraints.exists():
        return Check(
            "packages", False, f"{constraints} is not there: install kvlab from its repository with: make setup"
        )
    pins = {canonicalize_name(pin.name): pin.specifier for pin in map(Requirement, _lines(constraints))}
    installed = {canonicalize_name(found.metadata["Name"]): found.version for found in metadata.distributions()}
    required = [Requirement(text) for text in metadata.requires("kvlab") or []]
    missing = [need.name for need in required if not need.marker and canonicalize_name(need.name) not in installed]
    if missing:
        return Check("packages", False, f"missing: {', '.join(missing)}; install with: make setup")
    shared = pins.keys() & installed.keys()
    other = [f"{name} {installed[name]} ({pins[name]})" for name in sorted(shared) if installed[name] not in pins[name]]
    if other:
        return Check("packages", True, f"other versions than the records were made with: {', '.join(other)}")
    return Check("packages", True, f"{len(shared)} as pinned in {constraints.name}")


def _lines(path: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def check_gl() -> Check:
    """Draws the first frame of an episode as a run would, by the variables that are set; says which driver drew it."""
    backend = os.environ.get("MUJOCO_GL", "egl")
    drawn = subprocess.run([sys.executable, "-c", _DRAW], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if drawn.returncode == 0:
        return Check("OpenGL", True, f"{backend}, {drawn.stdout.strip()}")
    told = drawn.stderr.strip().splitlines() or [f"OSError: it ended with {drawn.returncode}"]
    kind, _, reason = told[-1].partition(": ")
    if kind != "OSError":  # a variable or a package of Python's, which apt does not mend
        return Check("OpenGL", False, reason)
    text = f"no frame could be drawn with MUJOCO_GL={backend} ({reason.partition(': ')[0]})"
    return Check("OpenGL", False, text, APT_PACKAGES.get(backend, ()))


def apt_get() -> list[str] | None:
    """How to call apt-get without asking anybody: as root, or by a sudo that wants no password; None if neither."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return ["apt-get"]
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n", "apt-get"]
    return None


def install_gl(apt: list[str], packages: tuple[str, ...]) -> None:
    """Installs `packages`; apt's errors go to the terminal, and a failure shows in the next check."""
    print(f"installing {' '.join(packages)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run([*apt, "-qq", *command], env=environment, stdout=subprocess.DEVNULL)


def advice(packages: tuple[str, ...]) -> str:
    """What to do about a missing driver, with the exact command where apt knows it."""
    if not shutil.which("apt-get"):
        return "install EGL with Mesa's software driver, or OSMesa and set MUJOCO_GL=osmesa"
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"run: {sudo}apt-get install --no-install-recommends {' '.join(packages)}"


def diagnose(constraints: Path, install: bool) -> list[Check]:
    """All checks; with `install`, a missing OpenGL driver is installed where that is possible, and checked again."""
    gl = check_gl()
    if gl.packages and install and (apt := apt_get()):
        install_gl(apt, gl.packages)
        gl = check_gl()
    if gl.packages:
        gl = Check(gl.name, False, f"{gl.text}; {advice(gl.packages)}")
    return [check_python(), check_packages(constraints), gl]
