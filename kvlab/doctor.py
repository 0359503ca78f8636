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

# In a process of its own: MUJOCO_GL is read at import, and a broken driver may end the process.
_DRAW = """
import cv2, mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom type="sphere" size=".2"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data)
    frame = renderer.render()
    from OpenGL import GL
    name = GL.glGetString(GL.GL_RENDERER).decode()
assert frame.min() < frame.max(), "the frame that was drawn is empty"
print(name)
"""


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report; `ok` is False only for what kvlab cannot work with."""

    name: str
    ok: bool
    text: str


def check_python() -> Check:
    """Python 3.11 or newer."""
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, version if ok else f"found {version}, kvlab needs 3.11 or newer")


def check_packages(constraints: Path) -> Check:
    """What kvlab requires is installed; versions other than the pins in `constraints` are named, but allowed."""
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


def check_gl(backend: str) -> Check:
    """Draws one frame off screen with `backend` (egl or osmesa); says which driver drew it."""
    environment = os.environ | {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    drawn = subprocess.run([sys.executable, "-c", _DRAW], capture_output=True, text=True, env=environment)
    if drawn.returncode == 0:
        return Check("OpenGL", True, f"{backend}, {drawn.stdout.strip()}")
    reason = (drawn.stderr.strip() or f"ended with {drawn.returncode}").splitlines()[-1]
    return Check("OpenGL", False, f"no frame could be drawn with MUJOCO_GL={backend} ({reason})")


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
    backend = os.environ.get("MUJOCO_GL", "egl")
    packages = APT_PACKAGES.get(backend, APT_PACKAGES["egl"])
    gl = check_gl(backend)
    if not gl.ok and install and (apt := apt_get()):
        install_gl(apt, packages)
        gl = check_gl(backend)
    if not gl.ok:
        gl = Check(gl.name, False, f"{gl.text}; {advice(packages)}")
    return [check_python(), check_packages(constraints), gl]
