"""Coarser meshes and textures for drawing: the same look from a hundredth of the triangles and texels."""

from dataclasses import dataclass

import fast_simplification
import mujoco
import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Coarse:
    """A reduced mesh. `source` names, for each corner, the corner of the original whose normal and texture it takes."""

    vertices: Float[np.ndarray, "vertices 3"]
    triangles: Int[np.ndarray, "faces 3"]
    source: Int[np.ndarray, "faces 3 2"]


_done: dict[tuple, Coarse] = {}  # the same robot and bowls come back in every task


def coarsen_meshes(model: mujoco.MjModel, faces: int) -> None:
    """Reduce every mesh of `model`, in place, to about `faces` triangles for drawing.

    The arrays keep their sizes; what is no longer used is left over. The model is then good for drawing alone.
    """
    for mesh in range(model.nmesh):
        count = model.mesh_facenum[mesh]
        if count <= faces:
            continue
        rows = slice(model.mesh_faceadr[mesh], model.mesh_faceadr[mesh] + count)
        first = model.mesh_vertadr[mesh]
        vertices = model.mesh_vert[first : first + model.mesh_vertnum[mesh]].astype(float)
        triangles = model.mesh_face[rows].copy()
        key = (faces, vertices.tobytes(), triangles.tobytes())
        if key not in _done:
            _done[key] = simplify(vertices, triangles, faces)
        coarse = _done[key]
        kept = len(coarse.triangles)
        for name in ("mesh_facenormal", "mesh_facetexcoord"):
            lists = getattr(model, name)
            lists[rows.start : rows.start + kept] = lists[rows][coarse.source[..., 0], coarse.source[..., 1]]
        model.mesh_vert[first : first + len(coarse.vertices)] = coarse.vertices
        model.mesh_face[rows.start : rows.start + kept] = coarse.triangles
        model.mesh_facenum[mesh] = kept


def coarsen_textures(model: mujoco.MjModel, side: int) -> None:
    """Halve every flat texture of `model`, in place, until no side is longer than `side` or it is odd."""
    for texture in np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_2D):
        height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
        channels, first = int(model.tex_nchannel[texture]), model.tex_adr[texture]
        image = model.tex_data[first : first + height * width * channels].reshape(height, width, channels)
        while max(image.shape[:2]) > side and not (image.shape[0] % 2 or image.shape[1] % 2):
            image = halve(image)
        model.tex_height[texture], model.tex_width[texture] = image.shape[:2]
        model.tex_data[first : first + image.size] = image.ravel()


def halve(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h/2 w/2 c"]:
    """Each pixel the mean of four, rounded to the nearest and else to even; in whole numbers, which is faster."""
    height, width, channels = image.shape
    rows = np.add(image[0::2], image[1::2], dtype=np.uint16).reshape(height // 2, width // 2, 2 * channels)
    four = rows[..., :channels] + rows[..., channels:]
    four += 1 + (four >> 2 & 1)
    return (four >> 2).astype(np.uint8)


def simplify(vertices: Float[np.ndarray, "v 3"], triangles: Int[np.ndarray, "f 3"], faces: int) -> Coarse:
    """Quadric edge collapse (Garland and Heckbert 1997) to about `faces` triangles."""
    welded, index = weld(vertices)
    joined = index[triangles]
    joined = joined[(joined != np.roll(joined, 1, axis=1)).all(axis=1)]
    points, coarse = fast_simplification.simplify(welded, joined, target_count=faces, agg=5)
    return Coarse(points, coarse, _sources(vertices[triangles], points[coarse]))


def weld(vertices: Float[np.ndarray, "v 3"]) -> tuple[Float[np.ndarray, "w 3"], Int[np.ndarray, " v"]]:
    """Merge vertices at the same place (MuJoCo splits them along texture seams): the places, and each one's index."""
    step = np.ptp(vertices, axis=0).max() / 2**20
    grid = np.rint((vertices - vertices.min(axis=0)) / step).astype(np.int64)
    _, first, index = np.unique(grid @ np.array([1 << 42, 1 << 21, 1]), return_index=True, return_inverse=True)
    return vertices[first], index


def _sources(
    fine: Float[np.ndarray, "f 3 3"], coarse: Float[np.ndarray, "k 3 3"], neighbours: int = 8
) -> Int[np.ndarray, "k 3 2"]:
    """For each corner of the coarse faces, the (face, corner) of the fine mesh nearest to it on the same side.

    The search point is drawn a little into the face, so that a corner on a texture seam stays on its face's side.
    """
    inside = 0.8 * coarse + 0.2 * coarse.mean(axis=1, keepdims=True)
    distance, face = cKDTree(fine.mean(axis=1)).query(inside.reshape(-1, 3), k=neighbours)
    facing = np.einsum("cnk,ck->cn", _normals(fine)[face], np.repeat(_normals(coarse), 3, axis=0))
    best = np.argmin(np.where(facing > 0.5, distance, np.inf), axis=1)  # none alike: the nearest
    face = face[np.arange(len(face)), best]
    gap = np.linalg.norm(fine[face] - coarse.reshape(-1, 1, 3), axis=2)
    return np.stack([face, gap.argmin(axis=1)], axis=1).reshape(-1, 3, 2)


def _normals(corners: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, "f 3"]:
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
