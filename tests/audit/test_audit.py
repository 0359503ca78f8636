"""`kvlab audit` on small datasets, most of them written by `kvlab export`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.numpy import save_file
from scipy.stats import spearmanr

from kvlab.audit import foretold, page
from kvlab.audit.dataset import Dataset
from kvlab.audit.foretold import farthest_alike, in_order, rank_correlation, recorded
from kvlab.audit.replay import DEFAULT, NO_REUSE, Replay, by_setting
from kvlab.pi0 import load
from kvlab.serve import Served
from kvlab.sim import demos, lerobot
from kvlab.sim.suites import tasks

LENGTHS, FPS = (23, 11, 17), 20
DATA, EPISODES, INFO = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/info.json"
EVERY = "prefix when every(3)"


def tensors(length: int, seed: int) -> dict[str, np.ndarray]:
    """A demonstration whose frames and state drift, so that similarity falls with age."""
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(0, 12, (2, length, 32, 32, 3)), axis=1) + 128
    frames = {camera: drift[n].clip(0, 255).astype(np.uint8) for n, camera in enumerate(lerobot.CAMERAS)}
    state = np.cumsum(rng.normal(0, 0.3, (length, 8)), axis=0).astype(np.float32)
    state[:, 3:6] = rng.uniform([2.0, -0.3, -0.3], [3.0, 0.3, 0.3], (length, 3))
    return frames | {"state": state, "action": rng.uniform(-1, 1, (length, 7)).astype(np.float32)}


@pytest.fixture(scope="module")
def source() -> list[dict[str, np.ndarray]]:
    return [tensors(length, seed) for seed, length in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, source) -> Path:
    folder = tmp_path_factory.mktemp("demos")
    for number, one in enumerate(source):
        facts = {"suite": "libero_spatial", "task": str(number), "language": tasks("libero_spatial")[number].language}
        facts |= {"initial_state": "11", "seed": "0", "render": "fast", "size": "32"}
        path = demos.path(folder, "libero_spatial", number, 11, 0)
        path.parent.mkdir(exist_ok=True)
        save_file(one, path, facts)
    lerobot.export(folder, folder / "dataset")
    return folder / "dataset"


@pytest.fixture
def dataset(exported, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(exported, tmp_path / "dataset"))


@pytest.fixture(scope="module")
def served(untrained) -> Served:
    return Served.load(untrained, NO_REUSE)


def program(*arguments: object, start: str = "") -> subprocess.CompletedProcess:
    """The command in a process of its own, and which simulator it has imported, at the end of stdout."""
    code = (
        f"import atexit, sys; {start}\n"
        "atexit.register(lambda: print('SIMULATOR', sorted({'libero', 'mujoco', 'robosuite'} & {*sys.modules})))\n"
        "import os; atexit.register(lambda: print('WAITS', os.environ.get('OMP_WAIT_POLICY')))\n"
        f"sys.argv = {['kvlab', 'audit', *map(str, arguments)]!r}\n"
        "from kvlab.cli import program; program()"
    )
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # as `one_thread` does in this process
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=one_thread)


def test_the_command_writes_all_without_the_simulator(exported, untrained, tmp_path):
    out = tmp_path / "audit"
    ran = program(exported, "--checkpoint", untrained, "--out", out, "--episodes", 2)
    assert ran.returncode == 0, ran.stderr
    settings = ["none", *(one for one in DEFAULT if one != "none steps=2")]  # which this policy takes by default
    inferences = (5 + 4) * (len(settings) + 1)  # of episodes 0 and 2, every fifth frame; one more without reuse
    assert re.match(rf"2 of 3 episodes, 40 frames, 9 settings: {inferences} inferences, about \d+ s\n", ran.stdout)
    assert ran.stdout.endswith("WAITS passive\nSIMULATOR []\n") and "Agreement offline is not success" in ran.stdout
    assert {path.name for path in out.iterdir()} == {"settings.csv", "replans.csv", "audit.svg", "index.html"}
    rows, table = pd.read_csv(out / "replans.csv"), pd.read_csv(out / "settings.csv", index_col=0)
    assert list(table.index) == settings and (table["replans"] == 9).all() and len(rows) == 9 * len(settings)
    assert sorted(rows["episode"].unique()) == [0, 2] and sorted(rows["frame"].unique()) == [0, 5, 10, 15, 20]
    text = (out / "index.html").read_text()
    assert "Agreement offline is not success." in text and page.evidence() in text
    assert (out / "audit.svg").read_text()[-500:] in text
    assert all(f"<th>{one}</th>".replace(">=", "&gt;=") in text for one in settings)
    assert not re.search(r"(src|href)=[\"'][^#]|@import|url\([^#]", text), "the page needs another file"


def test_a_chunk_of_a_reused_prefix_by_hand(exported, served, source):
    """The model's own functions, without `CachedPolicy`: the prefix of frame 0 at frames 5 and 10, computed at 15."""
    rows = Replay.of(Dataset.open(exported), served, [EVERY], 1).run()
    mine = rows[rows["setting"] == EVERY].set_index("frame")
    policy, model, config = served.policy, served.policy.model, served.policy.config
    instruction = tasks("libero_spatial")[0].language

    def prefix(frame: int):
        seen = policy.images({camera: source[0][camera][frame] for camera in config.cameras})
        parts = {camera: (x[None], None) for camera, x in zip(config.cameras, model.embed_images(seen), strict=True)}
        return model.prefill(parts | {"language": (model.embed_language(policy.tokens(instruction)), None)})

    def chunk(of: int, now: int):
        noise = np.random.default_rng([0, now // 5]).standard_normal((1, config.chunk, 7), np.float32)
        state = policy.state(source[0]["state"][now])
        return model.denoise(model.encode_state(state, prefix(of)), torch.from_numpy(noise))[0].numpy()

    for frame, of in ((0, 0), (5, 0), (10, 0), (15, 15), (20, 15)):
        apart = chunk(of, frame) - chunk(frame, frame)
        assert mine.loc[frame, "error"] == pytest.approx(np.sqrt((apart**2).mean()), rel=1e-3, abs=1e-6)
        assert mine.loc[frame, "error_executed"] == pytest.approx(np.sqrt((apart[:5] ** 2).mean()), rel=1e-3, abs=1e-6)
        assert (mine.loc[frame, "age"], mine.loc[frame, "reused"]) == ((frame - of) // 5, of < frame)
    assert mine.loc[5, "error"] > 0


def test_a_gate_on_the_state_and_the_signals_by_hand(exported, served, source):
    """Stated in units of training, which here are the state's own; the cache ages until the gate refuses."""
    state = source[2]["state"][::5]
    cosine = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in state] for a in state])
    bound = round(float(np.median(cosine[np.triu_indices(len(state), 1)])), 3)
    anchor, ages = 0, [0]
    for now in range(1, len(state)):
        anchor = anchor if cosine[now, anchor] >= bound else now
        ages.append(now - anchor)
    assert 0 < sum(age > 0 for age in ages) < len(state) - 1, "the example should have both"
    replay = Replay.of(Dataset.open(exported), served, [f"full when state >= {bound}"], 3)
    rows = replay.run()
    mine = rows[(rows["setting"] != "none") & (rows["episode"] == 2)]
    assert mine["age"].tolist() == ages
    near = [cosine[now, now - 1] for now in range(1, len(state))]
    np.testing.assert_allclose(mine["state"].iloc[1:], near, rtol=1e-5)
    assert mine[["vision", "pixels", "state"]].iloc[0].isna().all()
    table = by_setting(rows)
    assert table.loc[f"full when state >= {bound}", "reused"] == rows[rows["setting"] != "none"]["reused"].mean()


def test_settings_that_execute_and_denoise_otherwise(exported, served):
    settings = ["none execute=4", "none steps=1", "chunk when every(2) execute=4", "none execute=5 steps=2"]
    with pytest.raises(ValueError, match="cannot read"):  # steps come first
        Replay.of(Dataset.open(exported), served, settings, 3)
    settings[-1] = "none steps=2 execute=5"  # as by default
    replay = Replay.of(Dataset.open(exported), served, settings, 3)
    rows = replay.run()
    assert len(rows) == replay.replans - sum(len(range(0, n, k)) for n in LENGTHS for k in (4, 5))
    assert list(rows["setting"].unique()) == ["none", "none steps=1", "none execute=4", "chunk when every(2) execute=4"]
    table = by_setting(rows)
    assert (table.loc[["none", "none execute=4"], "error"] == 0).all() and table.loc["none steps=1", "error"] > 0
    assert table.loc["none execute=4", "ms_step"] == table.loc["none execute=4", "ms_computed"] / 4
    kept = rows[(rows["setting"] == "chunk when every(2) execute=4") & rows["reused"]]
    assert (kept["replan"] % 2 == 1).all() and kept["error"].equals(kept["error_executed"])  # 4 of 8 actions are left


def as_videos(dataset: Path, cameras: dict[str, list[np.ndarray]]) -> None:
    """The same dataset with frames in one lossless video a camera, as LeRobot lays them out."""
    table, rows = parquet.read_table(dataset / DATA), parquet.read_table(dataset / EPISODES).to_pylist()
    info = json.loads((dataset / INFO).read_text())
    parquet.write_table(table.drop_columns(list(cameras)), dataset / DATA)
    for column, frames in cameras.items():
        info["features"][column]["dtype"] = "video"
        path = dataset / "videos" / column / "chunk-000/file-000.mp4"
        path.parent.mkdir(parents=True)
        film = imageio_ffmpeg.write_frames(
            path, (32, 32), fps=FPS, codec="libx264rgb", pix_fmt_out="rgb24", macro_block_size=1,
            output_params=["-crf", "0", "-g", "7"],
        )  # fmt: skip
        film.send(None)
        for frame in frames:
            film.send(np.ascontiguousarray(frame))
        film.close()
        for row in rows:
            start = row["dataset_from_index"] / FPS
            row |= {f"videos/{column}/chunk_index": 0, f"videos/{column}/file_index": 0}
            row |= {f"videos/{column}/from_timestamp": start}
    parquet.write_table(arrow.Table.from_pylist(rows), dataset / EPISODES)
    (dataset / INFO).write_text(json.dumps(info))


def test_frames_in_videos_are_the_same(dataset, exported, source):
    names = {
        column: [f for one in source for f in one[camera][:, :, ::-1]] for camera, column in lerobot.CAMERAS.items()
    }
    as_videos(dataset, names)
    pictures, videos = Dataset.open(exported), Dataset.open(dataset)
    assert videos.videos == {*names} and not pictures.videos
    for number, length in enumerate(LENGTHS):
        wanted = [0, 3, length - 1]
        one, other = (d.read(d.episodes[number], wanted, ["agentview", "wrist"]) for d in (pictures, videos))
        for frame in wanted:
            assert np.array_equal(one[frame].state, other[frame].state)
            for camera in one[frame].frames:
                apart = one[frame].frames[camera].astype(int) - other[frame].frames[camera]
                assert np.abs(apart).max() <= 1, (number, frame, camera)
    path = dataset / "videos" / lerobot.CAMERAS["wrist"] / "chunk-000/file-000.mp4"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="file-000.mp4 is not a readable video"):
        videos.read(videos.episodes[0], [0], ["wrist"])
    path.unlink()
    with pytest.raises(ValueError, match="file-000.mp4 is not there"):
        videos.read(videos.episodes[0], [0], ["wrist"])


def change(path: Path, **columns: object) -> None:
    table = parquet.read_table(path).to_pylist()
    parquet.write_table(arrow.Table.from_pylist([row | columns for row in table]), path)


def described(dataset: Path, change) -> None:
    info = json.loads((dataset / INFO).read_text())
    change(info)
    (dataset / INFO).write_text(json.dumps(info))


BAD = {
    "no folder": (shutil.rmtree, "there is no folder"),
    "no dataset": (lambda d: (d / INFO).unlink(), "is not a LeRobot dataset of format v3: it lacks meta/info.json"),
    "older": (lambda d: described(d, lambda i: i.update(codebase_version="v2.1")), "of format v2.1, not v3: LeRobot's"),
    "no JSON": (lambda d: (d / INFO).write_text("{"), "info.json is not readable JSON"),
    "no rate": (lambda d: described(d, lambda i: i.update(fps=0)), "info.json: fps should be"),
    "no state": (
        lambda d: described(d, lambda i: i["features"].pop("observation.state")),
        "has no observation.state, only action, episode_index",
    ),
    "no camera": (
        lambda d: described(d, lambda i: i["features"].pop("observation.images.image2")),
        "the checkpoint needs the camera wrist, and {} has agentview (observation.images.image)",
    ),
    "no episodes": (lambda d: (d / EPISODES).unlink(), "has no episodes"),
    "no frame": (lambda d: change(d / EPISODES, length=0), "has an episode without any frame"),
    "no text": (lambda d: change(d / EPISODES, tasks=[" "]), "episode 0 should have the text of one task, it has none"),
    "two texts": (lambda d: change(d / EPISODES, tasks=["a", "b"]), "should have the text of one task, it has 2"),
    "no column": (lambda d: change(d / DATA, frame_index=None), "lacks frame 0 of episode 0"),
    "damaged meta": (lambda d: (d / EPISODES).write_bytes(b"PAR1"), "is not a readable Parquet file"),
    "damaged": (lambda d: (d / DATA).write_bytes((d / DATA).read_bytes()[:-999]), "is not a readable Parquet file"),
    "missing": (lambda d: (d / DATA).unlink(), "file-000.parquet is not there"),
    "no picture": (
        lambda d: change(d / DATA, **{"observation.images.image": {"bytes": b"GIF8", "path": None}}),
        "has a cell in observation.images.image that is no readable picture",
    ),
    "other state": (
        lambda d: change(d / DATA, **{"observation.state": [0.0] * 7}),
        "episode 0: the state should be an array of 8 numbers, got float32 of shape (7,)",
    ),
    "no number": (
        lambda d: change(d / DATA, **{"observation.state": [float("nan")] * 8}),
        "episode 0: the state should be finite",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_wrong_with_a_dataset_is_one_sentence(fault, dataset, untrained, tmp_path, monkeypatch):
    from kvlab.cli import program as command

    damage, says = BAD[fault]
    damage(dataset)
    out = tmp_path / "out"
    arguments = ["kvlab", "audit", str(dataset), "--checkpoint", str(untrained), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        command()
    assert str(end.value).startswith("kvlab: ") and says.format(dataset) in str(end.value)
    assert "\n" not in str(end.value) and [*tmp_path.glob("out*")] == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("full", "has no gate"),
        ("none seeing black", "a replay shows what was recorded"),
        ("none execute=settled(0.1)", "give execute a whole number"),
        ("none execute=9", "9 actions are to be executed, but a chunk has 8"),
    ],
)
def test_a_setting_that_cannot_be_replayed(exported, served, setting, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        Replay.of(Dataset.open(exported), served, [setting], 1).run()


def test_interrupted_nothing_is_left_and_what_is_there_stays(exported, untrained, tmp_path):
    out, stop = (
        tmp_path / "out",
        "import kvlab.audit.page as p; p.page = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)",
    )
    ran = program(exported, "--checkpoint", untrained, "--out", out, "--episodes", 1, start=stop)
    assert ran.returncode == 130 and "nothing is written, and the same command begins anew" in ran.stderr
    assert [*tmp_path.iterdir()] == []
    out.mkdir()
    ran = program(exported, "--checkpoint", untrained, "--out", out)
    assert ran.returncode == 1 and "is there already" in ran.stderr and [*out.iterdir()] == []


def test_rank_correlation_and_pairs_in_order():
    rng = np.random.default_rng(0)
    error, success = pd.Series(rng.random(40)), pd.Series(rng.random(40))
    success -= error
    found = rank_correlation(error, success)
    assert found.estimate == spearmanr(error, success).statistic and -1 <= found.low < found.estimate < found.high <= 0
    assert in_order(pd.Series([0.1, 0.2, 0.3]), pd.Series([0.9, 0.8, 0.5])) == (2, 2)  # the first two are too near
    assert in_order(pd.Series([0.1, 0.2, 0.2]), pd.Series([0.5, 0.9, 0.9])) == (0, 2)
    errors, rates = pd.Series([0, 0, 0.2, 0.201, 0.3], list("abcde")), pd.Series([1, 0, 0.4, 0.9, 0], list("abcde"))
    assert farthest_alike(errors, rates) == ("d", "c")  # not a and b, which have no error, nor d and e


@pytest.mark.parametrize("suite", ["libero_spatial", "libero_10"])
def test_what_was_measured_is_of_recorded_settings(suite):
    """Its successes are those of the rows, so that a new recording is not set against old counts."""
    table = pd.read_csv(page.MEASURED / f"{suite}.csv", index_col="setting")
    rows = recorded(suite)
    assert {*table.index} <= {*rows.index}
    assert table[["episodes", "successes"]].equals(rows.loc[table.index, ["episodes", "successes"]])
    assert table.loc["none", "error"] == 0 and (table.drop(index="none")["error"] >= 0).all()
    rates, reuse = table["successes"] / table["episodes"], table["reused"] > 0
    every, reusing = (rank_correlation(table["error"][of], rates[of]) for of in (rates >= 0, reuse))
    assert reusing.high < -0.5 and reusing.estimate < every.estimate, "the page says that it ranks what reuses, only"
    said = next(line for line in page.evidence().splitlines() if suite in line)
    assert f"{every.estimate:.2f}" in said and f"{reusing.estimate:.2f}" in said


def test_rows_of_other_policies_are_not_counted(monkeypatch):
    rows = foretold.all_episodes(foretold.DATA / "runs" / "libero_10")
    both = pd.concat([rows, rows.assign(checkpoint="0123456789abcdef", success=False)])
    counts = recorded("libero_10")
    monkeypatch.setattr(foretold, "all_episodes", lambda folder: both)
    pd.testing.assert_frame_equal(recorded("libero_10"), counts)


def test_the_policy_sees_frames_and_states_as_it_was_trained_on_them(exported, served, source, untrained):
    """kvlab's own see frames upright, where the dataset has them mirrored, and the shorter turn of an orientation."""
    replay = Replay.of(Dataset.open(exported), served, [], 1)
    images, state = replay._moment(replay.episodes[0], replay._read(replay.episodes[0], [7])[7])
    assert all(np.array_equal(images[camera], source[0][camera][7]) for camera in lerobot.CAMERAS)
    np.testing.assert_allclose(state, source[0]["state"][7], rtol=1e-5, atol=1e-6)
    assert load(untrained).config.cameras == tuple(lerobot.CAMERAS)
