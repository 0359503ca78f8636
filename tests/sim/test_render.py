"""The render profiles: the same scene from far fewer triangles."""

import subprocess
import sys

import mujoco
import numpy as np
import pytest

from kvlab.sim.env import LiberoEnv
from kvlab.sim.meshes import halve, simplify, weld
from kvlab.sim.render import Renderer
from kvlab.sim.suites import task


@pytest.fixture(scope="module")
def views():
    seen = {}
    for name in ("stock", "fast"):
        env = LiberoEnv(task("libero_spatial", 4), render=name, size=96)
        env.reset(3, 0)
        before = env.model.mesh_facenum.copy(), env.data.qpos.copy()
        seen[name] = env.observe().images
        assert np.array_equal(before[0], env.model.mesh_facenum)  # the simulated model is not the drawn one
        assert np.array_equal(before[1], env.data.qpos)
        env.close()
    return seen


@pytest.mark.parametrize("view", ["agentview", "wrist"])
def test_fast_shows_what_stock_shows(views, view):
    stock, fast = (views[name][view].astype(float) for name in ("stock", "fast"))
    blocks = [image.reshape(12, 8, 12, 8, 3).mean((1, 3)) for image in (stock, fast)]  # 8 x 8 pixels: edges may differ
    difference = np.abs(blocks[0] - blocks[1])
    assert not np.array_equal(stock, fast)
    assert difference.mean() < 8 and np.quantile(difference, 0.98) < 50
    assert np.corrcoef(blocks[0].ravel(), blocks[1].ravel())[0, 1] > 0.97


def drawn(name: str, things: str, samples: int = 4) -> np.ndarray:
    """What the profile draws, from 3 m above, of a model that itself asks for so many samples a pixel."""
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><visual><quality offsamples="{samples}"/><headlight diffuse="0 0 0" specular="0 0 0"/></visual>'
        '<asset><material name="lamp" emission="1"/><material name="mirror" reflectance="1"/></asset><default>'
        f'<geom group="1"/></default><worldbody><camera name="eye" pos="0 0 3"/>{things}</worldbody></mujoco>'
    )
    data, renderer = mujoco.MjData(model), Renderer(model, name, 64)
    mujoco.mj_forward(model, data)
    (image,) = renderer.draw(data, [0])
    renderer.close()
    return image.astype(int)


@pytest.mark.parametrize("samples", [0, 4])
def test_the_profile_and_not_the_model_says_how_often_a_pixel_is_sampled(samples):
    lamp = '<geom type="box" size=".5 .3 .1" euler="0 0 20" material="lamp"/>'
    stock, fast = (drawn(name, lamp, samples).min(2) for name in ("stock", "fast"))
    assert {*np.unique(fast)} == {0, fast[32, 32]}
    assert 20 < ((stock > 0) & (stock < fast[32, 32])).sum() < 200  # along its edge, and nowhere else


@pytest.mark.parametrize(
    ("things", "column"),
    [
        ('<light pos="1 0 2" dir="-1 0 -2"/><geom type="plane" size="2 2 1"/><geom size=".2" pos="0 0 .6"/>', 21),
        (
            '<light pos="0 0 3" castshadow="false"/><geom type="plane" size="2 2 1" material="mirror"/>'
            '<geom type="box" size=".2 .2 .2" pos=".6 0 1.5" material="lamp"/>',
            42,
        ),
    ],
    ids=["shadow", "reflection"],
)
def test_fast_has_neither_shadows_nor_reflections(things, column):
    """Beside the thing itself, where by the laws of geometry its shadow falls, or its reflection is."""
    stock, fast = (drawn(name, things)[32, [column, 63 - column]] for name in ("stock", "fast"))
    assert np.abs(fast[0] - fast[1]).max() < 30 < np.abs(stock[0] - fast[0]).max()


@pytest.mark.parametrize("index", [0, 3, 9])
def test_what_is_out_of_view_is_not_drawn_and_changes_no_pixel(index):
    env = LiberoEnv(task("libero_spatial", index))
    env.reset(0, 0)
    for _ in range(6):
        env.step(np.array([0.8, 0.5, -0.6, 0.2, 0.1, 0.4, 1.0]))
        counted = []
        groups, renderer = env.model.geom_group.copy(), env._drawer()
        for renderer._alone in (True, False):
            frames = [(renderer.draw(env.data, [camera])[0], renderer._scene.ngeom) for camera in env._cameras]
            counted.append(frames)
        for (some, few), (every, many) in zip(*counted, strict=True):
            assert np.array_equal(some, every) and few < many
        assert np.array_equal(groups, env.model.geom_group)
    env.close()


def test_sites_of_which_nothing_is_seen_are_not_drawn():
    env = LiberoEnv(task("libero_10", 2))
    env.reset(0, 0)
    renderer, alpha = env._drawer(), env.model.site_rgba[:, 3]
    assert (alpha >= 0).all()
    frames = [(renderer.draw(env.data, [camera])[0], renderer._scene.ngeom) for camera in env._cameras]
    hidden = [env.model.site(name).id for name in ("gripper0_grip_site", "gripper0_grip_site_cylinder")]
    alpha[hidden] = -1.0  # as robosuite would have it
    for camera, (frame, few) in zip(env._cameras, frames, strict=True):
        assert np.array_equal(renderer.draw(env.data, [camera])[0], frame) and renderer._scene.ngeom == few + 2
    env.close()


def test_halving_is_the_rounded_mean_of_four():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    quarters = image.reshape(16, 2, 24, 2, 3).mean(axis=(1, 3))
    assert np.array_equal(halve(image), np.rint(quarters)) and (quarters % 1 == 0.5).any()


def sphere(rings: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit sphere whose triangles share no vertex, as MuJoCo stores textured meshes."""
    up, round_ = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    grid = np.array([[[np.sin(u) * np.cos(r), np.sin(u) * np.sin(r), np.cos(u)] for r in round_] for u in up])
    faces = []
    for i in range(rings):
        for j in range(2 * rings):
            a, b = grid[i, j], grid[i, (j + 1) % (2 * rings)]
            c, d = grid[i + 1, j], grid[i + 1, (j + 1) % (2 * rings)]
            faces += ([[a, c, d]] if i < rings - 1 else []) + ([[a, d, b]] if i > 0 else [])
    corners = np.array(faces)
    return corners.reshape(-1, 3), np.arange(3 * len(corners)).reshape(-1, 3)


def test_a_simplified_mesh_keeps_its_shape_and_takes_its_texture_from_nearby():
    vertices, triangles = sphere(30)
    assert len(weld(vertices)[0]) < len(vertices) / 3
    coarse = simplify(vertices, triangles, 300)
    assert len(coarse.triangles) <= 310
    assert np.abs(np.linalg.norm(coarse.vertices, axis=1) - 1).max() < 0.05
    corners = coarse.vertices[coarse.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("fk,fk->f", normals, corners.mean(axis=1)) > 0).all()  # still seen from outside
    source = vertices[triangles][coarse.source[..., 0], coarse.source[..., 1]]
    assert np.linalg.norm(source - corners, axis=2).max() < 0.25


def test_a_renderer_left_open_ends_quietly_with_its_process():
    script = (
        "import mujoco\n"
        "from kvlab.sim.render import Renderer\n"
        'model = mujoco.MjModel.from_xml_string(\'<mujoco><worldbody><light pos="0 0 3"/>'
        '<camera name="eye" pos="0 0 2"/><geom type="sphere" size=".2" group="1"/></worldbody></mujoco>\')\n'
        "data = mujoco.MjData(model)\n"
        "mujoco.mj_forward(model, data)\n"
        "renderer = Renderer(model, 'fast', 32)\n"
        "(image,) = renderer.draw(data, [0])\n"
        "print(image[16, 16].min() > image[0, 0].max())\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")


def test_triton_comes_before_mesa():
    """Both bring LLVM, and torch imports Triton as it loads a policy: after a frame was drawn that crashed."""
    pytest.importorskip("triton")
    program = "import sys, kvlab.sim; assert 'triton' in sys.modules, 'Mesa would come first'"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
