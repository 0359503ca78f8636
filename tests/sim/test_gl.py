"""The variables that choose what draws: one that cannot is named before anything is drawn, and by the doctor too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHOOSING = ("MUJOCO_EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES", "PYOPENGL_PLATFORM", "__EGL_VENDOR_LIBRARY_DIRS")
DRAW = """
try:
    from kvlab.sim.env import LiberoEnv
    from kvlab.sim.suites import task

    tasks = task("libero_spatial", 0)
    import mujoco
    from kvlab.sim.render import Renderer

    print(Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), "stock", 16).driver)
except (OSError, ValueError) as error:
    print(f"{type(error).__name__}: {error}")
"""


def drawn(**variables: str) -> str:
    """What is said by a process that would draw: the driver's name, or the error's sentence; no traceback."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOOSING}
    environment |= {"MUJOCO_GL": "egl"} | variables
    ran = subprocess.run([sys.executable, "-c", DRAW], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr, ran.stderr
    return ran.stdout.strip()


WRONG = [
    ({"MUJOCO_GL": "glfw"}, "ValueError: MUJOCO_GL='glfw' cannot draw off screen: set it to egl or osmesa."),
    ({"PYOPENGL_PLATFORM": "glx"}, "ValueError: PYOPENGL_PLATFORM='glx' does not go with MUJOCO_GL='egl': unset it"),
    ({"MUJOCO_GL": "osmesa", "PYOPENGL_PLATFORM": "egl"}, "ValueError: PYOPENGL_PLATFORM='egl' does not go with"),
    ({"MUJOCO_EGL_DEVICE_ID": "77"}, "ValueError: MUJOCO_EGL_DEVICE_ID='77' is no device of this machine, which has"),
    ({"MUJOCO_EGL_DEVICE_ID": "first"}, "ValueError: MUJOCO_EGL_DEVICE_ID='first' is no device of this machine"),
    ({"MUJOCO_EGL_DEVICE_ID": ""}, "ValueError: MUJOCO_EGL_DEVICE_ID='' is no device of this machine"),
    (
        {"CUDA_VISIBLE_DEVICES": "3", "MUJOCO_EGL_DEVICE_ID": "0"},
        "ValueError: MUJOCO_EGL_DEVICE_ID='0' is none of CUDA_VISIBLE_DEVICES='3', which robosuite demands: unset",
    ),
    ({"__EGL_VENDOR_LIBRARY_DIRS": "/nowhere:/no"}, "ValueError: __EGL_VENDOR_LIBRARY_DIRS='/nowhere:/no' names noth"),
    ({"__EGL_VENDOR_LIBRARY_FILENAMES": "/no.json"}, "ValueError: __EGL_VENDOR_LIBRARY_FILENAMES='/no.json' names no"),
]
NOTHING_DRAWN = [  # Mesa is told to use what is not there
    {"GALLIUM_DRIVER": "nonsense"},
    {"LIBGL_DRIVERS_PATH": "/nowhere"},
    {"MESA_GL_VERSION_OVERRIDE": "1.1"},
    {"MESA_EXTENSION_OVERRIDE": "-GL_ARB_framebuffer_object"},
]
WELL = [
    {"PYOPENGL_PLATFORM": ""},
    {"PYOPENGL_PLATFORM": "egl"},
    {"MUJOCO_EGL_DEVICE_ID": "0"},
    {"CUDA_VISIBLE_DEVICES": ""},
    {"CUDA_VISIBLE_DEVICES": "0,1", "MUJOCO_EGL_DEVICE_ID": "0"},
    {"EGL_PLATFORM": "x11", "DISPLAY": ":77"},
    {"LIBGL_ALWAYS_SOFTWARE": "1"},
]


@pytest.mark.parametrize(("variables", "says"), WRONG)
def test_a_variable_that_cannot_draw_is_named(variables, says):
    assert drawn(**variables).startswith(says)


@pytest.mark.parametrize("variables", NOTHING_DRAWN)
def test_where_nothing_draws_what_chooses_the_driver_is_named(variables, gl):
    if gl != "software":
        pytest.skip("these are Mesa's variables, and this machine draws by another driver")
    ((name, value),) = variables.items()
    assert drawn(**variables).startswith(
        f"OSError: No OpenGL driver that draws off screen, with {name}={value} set: unset that, or run `kvlab doctor"
    )


@pytest.mark.parametrize("variables", WELL)
def test_what_draws_may_be_chosen(variables):
    assert "Error" not in drawn(**variables)


@pytest.mark.parametrize("variables", [WRONG[1][0], WRONG[3][0], WRONG[6][0], NOTHING_DRAWN[0]])
def test_the_doctor_draws_as_a_run_would(variables, gl):
    if variables in NOTHING_DRAWN and gl != "software":
        pytest.skip("this is Mesa's variable, and this machine draws by another driver")
    doctor, environment = Path(sys.executable).with_name("kvlab"), os.environ | {"MUJOCO_GL": "egl"} | variables
    ran = subprocess.run([doctor, "doctor"], capture_output=True, text=True, env=environment)
    sentence = drawn(**variables).partition(": ")[2].partition(": ")[0]
    assert ran.returncode == 1 and sentence in ran.stdout.splitlines()[-1] and ran.stderr == ""
    assert ran.stdout.splitlines()[-1].startswith("MISSING OpenGL: ")
    assert ("apt-get" in ran.stdout) == (variables in NOTHING_DRAWN)  # where a package may help
