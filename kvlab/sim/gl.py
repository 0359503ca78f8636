"""The OpenGL driver that draws off screen, which variables choose it, and what to do where there is none."""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

_INSTALL = (
    "run `kvlab doctor --install`, or `apt-get install -y libegl1 libgl1-mesa-dri libgl1 libglib2.0-0`,"
    " or `apt-get install -y libosmesa6 libgl1 libglib2.0-0` and set MUJOCO_GL=osmesa."
)
# They choose a driver among those that are installed; a value that fits none is told only by nothing being drawn.
_CHOOSING = (
    "__EGL_VENDOR_LIBRARY_DIRS",
    "__EGL_VENDOR_LIBRARY_FILENAMES",
    "EGL_PLATFORM",
    "GALLIUM_DRIVER",
    "LIBGL_ALWAYS_SOFTWARE",
    "LIBGL_DRIVERS_PATH",
    "MESA_EXTENSION_OVERRIDE",
    "MESA_GL_VERSION_OVERRIDE",
    "MESA_LOADER_DRIVER_OVERRIDE",
    "MUJOCO_EGL_DEVICE_ID",
)


def ensure_gl() -> Callable:
    """The GL context class that MUJOCO_GL names (`egl` if unset, or `osmesa`), checked to be there.

    Raises ValueError for a variable that cannot draw, OSError with the command that installs a driver.
    """
    backend = _check_variables()
    with suppress(ImportError):  # both bring LLVM: Triton, which torch imports later, crashes after Mesa drew a frame
        import_module("triton")
    try:
        if backend == "egl":
            from mujoco.egl import GLContext

            GLContext._context = None  # its __del__ would complain where none could be made
        else:
            from mujoco.osmesa import GLContext
    except (ImportError, AttributeError, OSError) as error:  # PyOpenGL: AttributeError where the library is missing
        if isinstance(error, ModuleNotFoundError):
            raise
        raise no_driver() from error
    if backend == "egl":
        _check_device()
    return GLContext


def no_driver() -> OSError:
    """The error where nothing draws: how to install a driver, and which variables may have kept one from it."""
    chosen = [f"{name}={os.environ[name]}" for name in _CHOOSING if os.environ.get(name)]
    told, cure = (f", with {', '.join(chosen)} set", "unset that, or ") if chosen else ("", "")
    return OSError(f"No OpenGL driver that draws off screen{told}: {cure}{_INSTALL}")


def _check_variables() -> str:
    """The backend, `egl` or `osmesa`, with the variables that must agree with it. ValueError names one that does not.

    What mujoco and robosuite would say of them comes late, as an ImportError or an assertion.
    """
    backend = os.environ.setdefault("MUJOCO_GL", "egl")
    if backend not in ("egl", "osmesa"):
        raise ValueError(f"MUJOCO_GL={backend!r} cannot draw off screen: set it to egl or osmesa.")
    platform = os.environ.get("PYOPENGL_PLATFORM") or backend
    if platform != backend:
        raise ValueError(
            f"PYOPENGL_PLATFORM={platform!r} does not go with MUJOCO_GL={backend!r}: unset it, or set it to {backend}."
        )
    os.environ["PYOPENGL_PLATFORM"] = backend
    for name in ("__EGL_VENDOR_LIBRARY_DIRS", "__EGL_VENDOR_LIBRARY_FILENAMES"):
        paths = [path for path in os.environ.get(name, "").split(":") if path]
        if backend == "egl" and paths and not any(Path(path).exists() for path in paths):
            raise ValueError(f"{name}={os.environ[name]!r} names nothing that is there: unset it, or set it right.")
    device, visible = os.environ.get("MUJOCO_EGL_DEVICE_ID"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible and device is not None and not (device.isdigit() and device in visible):  # robosuite's own condition
        raise ValueError(
            f"MUJOCO_EGL_DEVICE_ID={device!r} is none of CUDA_VISIBLE_DEVICES={visible!r}, which robosuite demands: "
            "unset MUJOCO_EGL_DEVICE_ID, or set it to one of them."
        )
    return backend


def _check_device() -> None:
    """ValueError where MUJOCO_EGL_DEVICE_ID is no EGL device of this machine."""
    from mujoco.egl.egl_ext import eglQueryDevicesEXT

    if (device := os.environ.get("MUJOCO_EGL_DEVICE_ID")) is None:
        return
    devices = len(eglQueryDevicesEXT())
    if not (device.isdigit() and int(device) < devices):
        raise ValueError(
            f"MUJOCO_EGL_DEVICE_ID={device!r} is no device of this machine, which has {devices} for EGL: unset it, or "
            f"set it to a number from 0 to {devices - 1}."
        )
