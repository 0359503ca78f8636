"""The OpenGL driver that draws off screen, and what to do where there is none."""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

GL_HELP = (
    "No OpenGL driver that draws off screen: run `kvlab doctor --install`, or"
    " `apt-get install -y libegl1 libgl1-mesa-dri libgl1 libglib2.0-0`,"
    " or `apt-get install -y libosmesa6 libgl1 libglib2.0-0` and set MUJOCO_GL=osmesa."
)


def ensure_gl() -> Callable:
    """The GL context class that MUJOCO_GL names (`egl` if unset, or `osmesa`), checked to be there.

    Raises OSError with the command that installs a driver, ValueError for another value of MUJOCO_GL.
    """
    backend = os.environ.setdefault("MUJOCO_GL", "egl")
    if backend not in ("egl", "osmesa"):
        raise ValueError(f"MUJOCO_GL={backend!r} cannot draw off screen: set it to egl or osmesa.")
    os.environ.setdefault("PYOPENGL_PLATFORM", backend)
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
        raise OSError(GL_HELP) from error
    return GLContext
