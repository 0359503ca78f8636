"""Exported demonstrations, against their source and against what LeRobot itself writes (`lerobot_layout.py`)."""

import importlib.util
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from kvlab.cli import program
from kvlab.sim import demos, lerobot
from kvlab.sim.env import LiberoEnv
from kvlab.sim.expert import BowlExpert
from kvlab.sim.published import observe_published
from kvlab.sim.suites import task

_spec = importlib.util.spec_from_file_location("lerobot_layout", Path(__file__).with_name("lerobot_layout.py"))
recorded = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(recorded)
THEIRS = json.loads(Path(__file__).with_name("lerobot_layout.json").read_text())
ADDED = {"suite": "string", "task_id": "int64", "initial_state": "int64", "seed": "int64"}  # to a row of meta/episodes
DATA = "data/chunk-000/file-000.parquet"


def write_demo(folder: Path, number: int, tensors: dict[str, np.ndarray], **changes: str | None) -> Path:
    """A file as `kvlab demos` writes it; a fact that is None is left out."""
    facts = {"suite": "libero_10", "task": "3", "language": recorded.TASKS[number % 3], "initial_state": "11"}
    facts |= {"seed": str(number), "render": "fast", "size": str(recorded.SIZE)} | changes
    path = demos.path(folder, "libero_10", 3, 11, number)
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, {name: value for name, value in facts.items() if value is not None})
    return path


@pytest.fixture
def made(tmp_path) -> Path:
    """A folder with the demonstrations of which LeRobot wrote its dataset."""
    for number, tensors in enumerate(recorded.episodes()):
        write_demo(tmp_path, number, tensors)
    return tmp_path


@pytest.fixture
def ours(made) -> dict:
    assert lerobot.export(made, made / "out") == (len(recorded.LENGTHS), sum(recorded.LENGTHS))
    return recorded.layout(made / "out")


def rows(root: Path) -> list[dict]:
    return [row for path in sorted(root.glob("data/*/*")) for row in parquet.read_table(path).to_pylist()]


def picture(cell: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(cell["bytes"])))


def test_files_columns_and_descriptions_are_those_that_lerobot_writes(ours):
    assert ours["files"] == sorted([*THEIRS["files"], "README.md"])
    assert all(ours[part] == THEIRS[part] for part in ("info", "tasks", "row_groups", "hub"))
    episodes = "meta/episodes/chunk-000/file-000.parquet"
    assert ours["schemas"].pop(episodes) == THEIRS["schemas"].pop(episodes) | ADDED
    assert ours["schemas"] == THEIRS["schemas"]


def test_an_episodes_row_is_that_of_lerobot_with_what_it_began_from(ours):
    """Their sums are of 32 bits, their quantiles the same to one of 5000 bins."""
    for number, (mine, theirs) in enumerate(zip(ours["episodes"], THEIRS["episodes"], strict=True)):
        assert {name: mine[name] for name in ADDED} == {
            "suite": "libero_10", "task_id": 3, "initial_state": 11, "seed": number
        }  # fmt: skip
        for name, value in theirs.items():
            *feature, kind = name.split("/")
            if feature[:1] != ["stats"]:
                assert mine[name] == value
            elif kind.startswith("q"):
                low, high = (np.array(mine["/".join([*feature, end])]) for end in ("min", "max"))
                assert (np.abs(np.array(mine[name]) - value) <= (high - low) / 5000 + 1e-6).all()
            else:
                np.testing.assert_allclose(mine[name], value, rtol=2e-4, atol=1e-6, err_msg=name)


def test_statistics_of_the_dataset(ours, made):
    """LeRobot averages quantiles over episodes; ours are of all rows, half of them below the median."""
    assert {name: {*of} for name, of in ours["stats"].items()} == {n: {*of} for n, of in THEIRS["stats"].items()}
    for feature, theirs in THEIRS["stats"].items():
        for kind in ("min", "max", "mean", "std", "count"):
            mine = ours["stats"][feature][kind]
            assert np.shape(mine) == np.shape(theirs[kind])
            np.testing.assert_allclose(mine, theirs[kind], rtol=2e-4, atol=1e-6, err_msg=feature)
    table = rows(made / "out")
    for feature in ("observation.state", "action", "index"):
        values = np.array([np.ravel(row[feature]) for row in table])
        for kind, share in lerobot.QUANTILES.items():
            below = (values <= ours["stats"][feature][kind]).mean(0)
            assert (below >= share).all() and (below < share + 1 / len(values) + 1e-9).all()
    pixels = np.stack([picture(row["observation.images.image"]) for row in table]).reshape(-1, 3) / 255
    for kind, share in lerobot.QUANTILES.items():
        expected = np.quantile(pixels, share, axis=0, method="inverted_cdf")
        np.testing.assert_array_equal(np.ravel(ours["stats"]["observation.images.image"][kind]), expected)


def test_every_frame_state_and_action_is_that_of_the_source(ours, made):
    table, index = rows(made / "out"), 0
    for number, episode in enumerate(recorded.episodes()):
        for step in range(len(episode["action"])):
            row, index = table[index], index + 1
            for camera, column in lerobot.CAMERAS.items():
                assert np.array_equal(picture(row[column]), episode[camera][step, :, ::-1])
                assert row[column]["path"] == f"frame-{step:06d}.png"
            np.testing.assert_allclose(row["observation.state"], episode["state"][step], rtol=1e-6, atol=1e-6)
            assert row["action"] == episode["action"][step].tolist()
            counted = {"frame_index": step, "episode_index": number, "index": index - 1, "task_index": number % 2}
            assert {name: row[name] for name in counted} == counted
            assert row["timestamp"] == np.float32(step / 20)
    assert index == len(table)


def test_a_demonstration_becomes_what_published_checkpoints_see(tmp_path, monkeypatch):
    """Every frame and state of an expert's way, stored as demonstrations are, beside what `observe_published` told."""
    env, published = LiberoEnv(task("libero_spatial", 2), size=32), []

    def record(*_):
        env.reset(12, 0)
        expert, seen, actions = BowlExpert(env), [], []
        for _ in range(40):
            published.append(observe_published(env))
            seen.append(env.observe())
            actions.append(expert.act().astype(np.float32))
            env.step(actions[-1])
        cameras = {name: np.stack([one.images[name] for one in seen]) for name in lerobot.CAMERAS}
        return cameras | {"state": np.stack([one.state for one in seen]), "action": np.stack(actions)}

    monkeypatch.setattr(demos, "record", record)
    monkeypatch.setattr(demos, "kept_env", lambda *_: env)
    assert demos._record_one(tmp_path / "demos", "libero_spatial", 2, 12, 0, "fast", 32)
    env.close()
    lerobot.export(tmp_path / "demos", tmp_path / "out")
    stored = load_file(demos.path(tmp_path / "demos", "libero_spatial", 2, 12, 0))["state"][:, 3:6]
    assert (np.abs(np.diff(stored, axis=0)) > 6).any()  # the shorter turn jumps from one side of pi to the other
    for row, seen in zip(rows(tmp_path / "out"), published, strict=True):
        np.testing.assert_allclose(row["observation.state"], seen.state, atol=2e-6)
        assert all(np.array_equal(picture(row[column]), seen.images[name]) for name, column in lerobot.CAMERAS.items())
    (episode,) = recorded.layout(tmp_path / "out")["episodes"]
    assert episode["tasks"] == [env.task.language]
    assert [episode[name] for name in ADDED] == ["libero_spatial", 2, 12, 0]


def test_files_begin_anew_at_their_size_and_folders_at_their_number(made, monkeypatch):
    monkeypatch.setattr(lerobot, "FILE_MB", 1e-3)
    monkeypatch.setattr(lerobot, "FILES_PER_CHUNK", 2)
    lerobot.export(made, made / "out")
    layout = recorded.layout(made / "out")
    places = [(0, 0), (0, 1), (1, 0)]
    files = [lerobot.DATA_PATH.format(chunk_index=chunk, file_index=file) for chunk, file in places]
    assert [name for name in layout["files"] if name.startswith("data")] == files
    assert [(row["data/chunk_index"], row["data/file_index"]) for row in layout["episodes"]] == places
    for number, (name, length) in enumerate(zip(files, recorded.LENGTHS, strict=True)):
        assert parquet.read_table(made / "out" / name)["episode_index"].to_pylist() == [number] * length
    assert layout["info"]["chunks_size"] == 2


def test_a_file_takes_episodes_up_to_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(lerobot, "FILE_MB", 2)
    with lerobot._data_files(tmp_path) as write:
        files = [write(arrow.table({"numbers": np.zeros(2**17)}))["data/file_index"] for _ in range(6)]  # 1 MB each
    assert files == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left on device")])
def test_interrupted_nothing_is_left_and_the_next_run_is_whole(made, monkeypatch, error):
    written = lerobot._png

    def fails(frame):
        if (made / "out.part" / DATA).exists():  # after the first episode
            raise error
        return written(frame)

    with monkeypatch.context() as patched:
        patched.setattr(lerobot, "_png", fails)
        with pytest.raises(error if isinstance(error, type) else type(error)):
            lerobot.export(made, made / "out")
    assert sorted(path.name for path in made.iterdir()) == ["libero_10"]
    (made / "out.part/data/chunk-007").mkdir(parents=True)  # left by a run that was killed
    (made / "out.part/data/chunk-007/file-000.parquet").touch()
    lerobot.export(made, made / "out")
    assert recorded.layout(made / "out")["files"] == sorted([*THEIRS["files"], "README.md"])
    assert not (made / "out.part").exists()


def without(name: str):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def changed(name: str, change):
    return lambda tensors: tensors | {name: np.ascontiguousarray(change(tensors[name]))}


@pytest.mark.parametrize(
    ("change", "facts", "says"),
    [
        (without("wrist"), {}, "is not a demonstration: it lacks wrist"),
        (dict, {"language": None, "render": None}, "is not a demonstration: it lacks language, render"),
        (changed("action", lambda a: a[:-1]), {}, "its agentview is uint8 (9, 16, 16, 3), it should be uint8 (8, 16"),
        (changed("state", lambda s: s[:, :7]), {}, "its state is float32 (9, 7), it should be float32 (9, 8)"),
        (changed("state", lambda s: s.astype(np.float64)), {}, "its state is float64 (9, 8), it should be float32"),
        (changed("action", lambda a: a * np.nan), {}, "its action has numbers that are not finite"),
        (lambda t: {name: value[:0] for name, value in t.items()}, {}, "with at least one step"),
        (dict, {"size": "32"}, "it should be uint8 (9, 32, 32, 3)"),
        (dict, {"render": "stock"}, "was drawn with {'render': 'stock', 'size': '16'}, the files before it with {'re"),
    ],
)
def test_what_is_no_demonstration_is_said_and_nothing_written(made, change, facts, says):
    bad = write_demo(made, 4, change(recorded.episodes()[0]), **facts)
    with pytest.raises(ValueError) as error:
        lerobot.export(made, made / "out")
    assert str(error.value).startswith(str(bad)) and says in str(error.value) and "\n" not in str(error.value)
    assert sorted(path.name for path in made.iterdir()) == ["libero_10"]


def test_a_truncated_file_an_empty_folder_and_a_dataset_that_is_there_are_said(made):
    with pytest.raises(ValueError, match="no demonstration files .* in .*nowhere; `kvlab demos` makes them"):
        lerobot.export(made / "nowhere", made / "out")
    lerobot.export(made, made / "out")
    before = recorded.layout(made / "out")
    with pytest.raises(FileExistsError, match="out is there already: remove it, or name another folder"):
        lerobot.export(made, made / "out")
    assert recorded.layout(made / "out") == before
    file = demos.path(made, "libero_10", 3, 11, 1)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="seed1.safetensors is truncated or not a safetensors file"):
        lerobot.export(made, made / "other")


def test_the_card_says_what_the_frames_are(made):
    write_demo(made, 5, recorded.episodes()[1], suite="libero_spatial")
    lerobot.export(made, made / "out")
    card = (made / "out/README.md").read_text()
    assert "4 episodes, 33 control steps at 20 Hz, of `libero_10` and `libero_spatial`" in " ".join(card.split())
    assert "16 x 16 pixels, drawn in kvlab's render profile `fast`" in " ".join(card.split())
    assert "256 x 256 pixels in the profile `stock`: these look different" in " ".join(card.split())
    assert "Initial states 0 to 9 of each task are held out" in card and card.startswith("---\n")


def test_the_command(made, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["kvlab", "export", str(made), "--out", str(made / "out")])
    with pytest.raises(SystemExit) as end:
        program()
    assert not end.value.code
    assert capsys.readouterr().out == f"3 episodes with 27 frames written to {made / 'out'}.\n"
    with pytest.raises(SystemExit) as end:
        program()
    assert (
        end.value.code == f"kvlab: {made / 'out'} is there already: remove it, or name another folder for the dataset"
    )

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lerobot, "export", interrupted)
    with pytest.raises(SystemExit) as end:
        program()
    assert end.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "kvlab: interrupted; nothing is left of the dataset, and the same command begins it anew"
    )
