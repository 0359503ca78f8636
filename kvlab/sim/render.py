"""Drawing a LIBERO scene, in named profiles, on whatever GL the machine has (a GPU, or Mesa in software).

`stock` draws as LIBERO does. `fast` draws the same scene with coarser meshes and without multisampling, shadows and
reflections: on a software driver the cost of a frame is its number of triangles, and a single bowl has 42,000.
"""

import atexit
import copy
import re
import weakref
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Bool, UInt8

from kvlab.sim.gl import ensure_gl, no_driver
from kvlab.sim.meshes import coarsen_meshes, coarsen_textures

HIDDEN = 0  # the group of geoms that are not drawn


@dataclass(frozen=True)
class Profile:
    """How to draw: multisampling (samples per pixel), shadows and reflections, most triangles per mesh and texels
    along a side of a texture (None: as they are)."""

    samples: int
    shadows: bool
    reflections: bool
    mesh_faces: int | None
    texture_side: int | None


PROFILES = {
    "stock": Profile(samples=4, shadows=True, reflections=True, mesh_faces=None, texture_side=None),
    "fast": Profile(samples=0, shadows=False, reflections=False, mesh_faces=1500, texture_side=512),
}


def profile(name: str) -> Profile:
    """The profile of that name; ValueError naming the known ones."""
    if name not in PROFILES:
        raise ValueError(f"Unknown render profile {name!r}: known profiles are {', '.join(PROFILES)}.")
    return PROFILES[name]


class Renderer:
    """Draws the cameras of one model. Holds a GL context; call `close` when done."""

    def __init__(self, model: mujoco.MjModel, name: str, size: int):
        """`name` is a profile, `size` the side of the square image in pixels.

        Raises ValueError for an unknown profile, OSError where no GL driver works.
        """
        wanted = profile(name)
        context = ensure_gl()
        try:
            self._gl = context(size, size)
            self._gl.make_current()
        except (ImportError, RuntimeError, AttributeError) as error:
            raise no_driver() from error
        from OpenGL import GL  # only now: its platform is chosen by `ensure_gl`

        renderer, version = (GL.glGetString(name).decode() for name in (GL.GL_RENDERER, GL.GL_VERSION))
        release = re.search(r"(Mesa|NVIDIA) \S+", version)  # pixels may differ from one to the next
        self.driver = f"{renderer}, {release[0]}" if release else renderer
        drawn = copy.copy(model)  # the simulated model is left as it is
        drawn.vis.global_.offwidth = drawn.vis.global_.offheight = size
        drawn.vis.quality.offsamples = wanted.samples
        if wanted.mesh_faces is not None:
            coarsen_meshes(drawn, wanted.mesh_faces)
        if wanted.texture_side is not None:
            coarsen_textures(drawn, wanted.texture_side)
        self._model, self._size = model, size
        self._alone = not (wanted.shadows or wanted.reflections)  # else what is out of view may still show in it
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = wanted.shadows
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = wanted.reflections
        try:
            self._context = mujoco.MjrContext(drawn, mujoco.mjtFontScale.mjFONTSCALE_150)
        except mujoco.FatalError as error:  # a driver that is too old, or is told to be
            self._gl.free()
            raise no_driver() from error
        # Registered after the GL context's own hook, so run before it: freeing a context of a closed display raises.
        atexit.register(_close, weakref.ref(self))
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[HIDDEN] = 0  # robosuite: group 0 collides, group 1 is seen
        self._options.geomgroup[1] = 1
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._perturb = mujoco.MjvPerturb()

    def draw(self, data: mujoco.MjData, cameras: list[int]) -> list[UInt8[np.ndarray, "size size 3"]]:
        """RGB images, upright, of the scene in `data` seen by each camera (index into the model's cameras)."""
        self._gl.make_current()
        view = mujoco.MjrRect(0, 0, self._size, self._size)
        images = []
        for camera in cameras:
            self._camera.fixedcamid = camera
            groups = self._model.geom_group.copy()
            if self._alone:
                self._model.geom_group[~self._in_view(data, camera)] = HIDDEN
            mujoco.mjv_updateScene(
                self._model, data, self._options, self._perturb, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
            )
            self._model.geom_group[:] = groups
            mujoco.mjr_render(view, self._scene, self._context)
            image = np.empty((self._size, self._size, 3), np.uint8)
            mujoco.mjr_readPixels(image, None, view, self._context)
            images.append(np.ascontiguousarray(image[::-1]))  # GL's first row is the lowest
        return images

    def _in_view(self, data: mujoco.MjData, camera: int) -> Bool[np.ndarray, " geoms"]:
        """Whose bounding sphere reaches into the camera's pyramid: a software driver draws in vain what does not."""
        away = (data.geom_xpos - data.cam_xpos[camera]) @ data.cam_xmat[camera].reshape(3, 3)  # right, up, backwards
        half = np.radians(self._model.cam_fovy[camera]) / 2
        radius = 1.1 * self._model.geom_rbound  # a coarser mesh may stand out a little
        out = np.abs(away[:, :2]).max(axis=1) * np.cos(half) + away[:, 2] * np.sin(half) > radius
        return ~(out | (away[:, 2] > radius)) | (radius == 0)  # planes have none

    def close(self) -> None:
        """Free the GL resources; the renderer cannot be used afterwards."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._gl = None


def _close(renderer: weakref.ref) -> None:
    if renderer() is not None:
        renderer().close()
