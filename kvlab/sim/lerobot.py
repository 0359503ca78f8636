"""Demonstrations as a LeRobot dataset (format v3.0), written without LeRobot and readable by it.

Layout, columns and types are those that LeRobot 0.6.1 writes (`lerobot/datasets`), frames being kept as PNG in the
Parquet files, which loses nothing and is how `HuggingFaceVLA/libero` and openpi's LIBERO data hold them. Where the rest
comes from:

- `observation.images.image` (agentview), `observation.images.image2` (wrist), `observation.state`, `action`: LeRobot's
  LIBERO environment (`LiberoEnv.features_map` in `lerobot/envs/configs.py`) and `HuggingFaceVLA/libero`; openpi's own
  data have `image`, `wrist_image`, `state` and `actions` (`examples/libero/convert_libero_data_to_lerobot.py`).
- Frames mirrored and the orientation's angle in [0, 2 pi]: `LiberoProcessorStep`
  (`lerobot/processor/env_processor.py`), which a policy trained on the dataset meets again when it is evaluated; see
  `kvlab.sim.published`.
- `panda` and the names of a frame's axes: openpi's converter, as above. Names of state and action numbers are ours.
- `fps` is the control rate of the demonstrations, which is also LeRobot's for LIBERO; published LIBERO data say 10.
"""

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.parquet as parquet
from jaxtyping import Float, Float32, Int, UInt8
from PIL import Image
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from kvlab.sim.dataset_card import card
from kvlab.sim.published import published_states

FPS = 20
CAMERAS = {"agentview": "observation.images.image", "wrist": "observation.images.image2"}
STATE = ["x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "finger_1", "finger_2"]
ACTION = ["x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z", "gripper"]
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILES_PER_CHUNK, FILE_MB = 1000, 100
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
FACTS = {"suite", "task", "language", "initial_state", "seed", "render", "size"}


@dataclass(frozen=True)
class Demonstration:
    """One file of `kvlab demos`, in the conventions of published LIBERO data."""

    frames: dict[str, UInt8[np.ndarray, "steps size size 3"]]  # by column
    state: Float32[np.ndarray, "steps 8"]
    action: Float32[np.ndarray, "steps 7"]
    facts: dict[str, str]  # suite, task, language, initial_state, seed, render, size

    def __len__(self) -> int:
        return len(self.action)


def export(demos: Path, out: Path) -> tuple[int, int]:
    """Write every demonstration in a folder and its folders as one dataset; how many episodes and frames it has.

    The dataset is written beside `out` and moved there when complete: interrupted, nothing is left of it. Raises
    ValueError where there are no demonstrations, where one is damaged, lacks a part or was drawn in another way than
    those before it, and FileExistsError where `out` is there already.
    """
    files = sorted(demos.rglob("*.safetensors"))
    if not files:
        raise ValueError(f"no demonstration files (*.safetensors) in {demos}; `kvlab demos` makes them")
    if out.exists():
        raise FileExistsError(f"{out} is there already: remove it, or name another folder for the dataset")
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left
    try:
        frames = _write(files, part)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return len(files), frames


def read(path: Path) -> Demonstration:
    """A file of `kvlab demos`. ValueError where it is damaged, lacks a part, or holds what no demonstration can."""
    try:
        with safe_open(path, "np") as file:
            facts = file.metadata() or {}
            if missing := {*CAMERAS, "state", "action", *FACTS} - {*file.keys(), *facts}:
                raise ValueError(f"{path} is not a demonstration: it lacks {', '.join(sorted(missing))}")
            found = {name: file.get_tensor(name) for name in [*CAMERAS, "state", "action"]}
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error
    steps, side = len(found["action"]), int(facts["size"])
    frames = ((steps, side, side, 3), "uint8")
    wanted = dict.fromkeys(CAMERAS, frames) | {"state": ((steps, 8), "float32"), "action": ((steps, 7), "float32")}
    for name, (shape, dtype) in wanted.items():
        if (found[name].shape, found[name].dtype) != (shape, np.dtype(dtype)) or not steps:
            has, asked = f"{found[name].dtype} {found[name].shape}", f"{dtype} {shape} with at least one step"
            raise ValueError(f"{path} is not a demonstration: its {name} is {has}, it should be {asked}")
        if dtype == "float32" and not np.isfinite(found[name]).all():
            raise ValueError(f"{path} is not a demonstration: its {name} has numbers that are not finite")
    mirrored = {column: found[camera][:, :, ::-1] for camera, column in CAMERAS.items()}
    return Demonstration(mirrored, published_states(found["state"]), found["action"], facts)


def features(size: int) -> dict[str, dict]:
    """The columns of the data as `meta/info.json` describes them; `size` is the side of a frame in pixels."""
    frame = {"dtype": "image", "shape": [size, size, 3], "names": ["height", "width", "channel"]}
    described = {column: frame for column in CAMERAS.values()}
    described["observation.state"] = {"dtype": "float32", "shape": [8], "names": STATE}
    described["action"] = {"dtype": "float32", "shape": [7], "names": ACTION}
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        dtype = "float32" if name == "timestamp" else "int64"
        described[name] = {"dtype": dtype, "shape": [1], "names": None}
    return described


def statistics(rows: Float[np.ndarray, "rows numbers"]) -> dict[str, np.ndarray]:
    """Of each column: least, greatest, mean, deviation, quantiles, each (numbers,); and how many rows, (1,).

    LeRobot's names. Its quantiles of an episode are these to a bin of 5000; those of a dataset it averages over
    episodes, where these are of all rows.
    """
    rows = rows.astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return found | {"count": np.array([len(rows)])} | dict(zip(QUANTILES, quantiles, strict=True))


def frame_statistics(pixels: Int[np.ndarray, "3 256"], frames: int) -> dict[str, np.ndarray]:
    """The same of frames, each (3, 1, 1) and in [0, 1], from how many pixels of each channel have each value.

    LeRobot takes them from a sample of an episode's frames, these are of all.
    """
    levels, total = np.arange(256) / 255, pixels.sum(1)
    there, mean = pixels > 0, pixels @ levels / total
    spread = np.sqrt((pixels * (levels - mean[:, None]) ** 2).sum(1) / total)
    found = {"min": levels[there.argmax(1)], "max": levels[255 - there[:, ::-1].argmax(1)], "mean": mean, "std": spread}
    found |= {name: levels[(pixels.cumsum(1) >= q * total[:, None]).argmax(1)] for name, q in QUANTILES.items()}
    return {name: value.reshape(3, 1, 1) for name, value in found.items()} | {"count": np.array([frames])}


def _write(files: list[Path], root: Path) -> int:
    """All of the dataset into a new folder, the description last; how many frames it has."""
    tasks, episodes, rows, pixels, drawn, start = {}, [], [], [], None, 0
    with _data_files(root) as write:
        for index, path in enumerate(tqdm(files, desc="exporting demonstrations", unit="demo")):
            demo = read(path)
            this = {name: demo.facts[name] for name in ("render", "size")}
            if drawn not in (None, this):
                raise ValueError(f"{path} was drawn with {this}, the files before it with {drawn}")
            drawn = this
            numbers = _numbers(demo, index, start, tasks.setdefault(demo.facts["language"], len(tasks)))
            counts = {column: _pixels(frames) for column, frames in demo.frames.items()}
            place = write(_table(demo, numbers))
            episodes.append(_episode(demo, index, start, place, _statistics(numbers, counts, len(demo))))
            rows.append(numbers)
            pixels.append(counts)
            start += len(demo)
    whole = {name: np.concatenate([one[name] for one in rows]) for name in rows[0]}
    every = {column: sum(one[column] for one in pixels) for column in CAMERAS.values()}
    _write_meta(root, episodes, tasks, _statistics(whole, every, start), features(int(drawn["size"])))
    (root / "README.md").write_text(card(episodes, drawn["render"], int(drawn["size"]), FPS))
    return start


def _numbers(demo: Demonstration, episode: int, start: int, task: int) -> dict[str, np.ndarray]:
    """Every column of an episode's data but the frames, as the types of `features`."""
    steps = np.arange(len(demo))
    return {
        "observation.state": demo.state,
        "action": demo.action,
        "timestamp": (steps / FPS).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full_like(steps, episode),
        "index": start + steps,
        "task_index": np.full_like(steps, task),
    }


def _pixels(frames: UInt8[np.ndarray, "steps size size 3"]) -> Int[np.ndarray, "3 256"]:
    return np.stack([np.bincount(frames[..., channel].ravel(), minlength=256) for channel in range(3)])


def _statistics(numbers: dict[str, np.ndarray], pixels: dict[str, np.ndarray], frames: int) -> dict[str, dict]:
    found = {column: frame_statistics(counts, frames) for column, counts in pixels.items()}
    return found | {name: statistics(values.reshape(frames, -1)) for name, values in numbers.items()}


def _table(demo: Demonstration, numbers: dict[str, np.ndarray]) -> arrow.Table:
    """An episode's rows, typed and annotated as the Hub's `datasets` does, so that frames are shown as images."""
    columns, hub = {}, {}
    for name, feature in features(int(demo.facts["size"])).items():
        kind, (width, *_) = feature["dtype"], feature["shape"]
        value = {"dtype": kind, "_type": "Value"}
        if name in demo.frames:
            hub[name] = {"_type": "Image"}
            png = [{"bytes": _png(f), "path": f"frame-{t:06d}.png"} for t, f in enumerate(demo.frames[name])]
            columns[name] = arrow.array(png, arrow.struct({"bytes": arrow.binary(), "path": arrow.string()}))
        elif width == 1:
            hub[name], columns[name] = value, arrow.array(numbers[name])
        else:
            hub[name] = {"feature": value, "length": width, "_type": "List"}
            columns[name] = arrow.FixedSizeListArray.from_arrays(numbers[name].ravel(), width)
    return arrow.table(columns, metadata={"huggingface": json.dumps({"info": {"features": hub}})})


def _png(frame: UInt8[np.ndarray, "size size 3"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    return file.getvalue()


@contextmanager
def _data_files(root: Path) -> Iterator:
    """A function that writes an episode's rows as one row group and tells in which file, begun anew at 100 MB."""
    numbers, writer, size, place = count(), None, 0, {}

    def write(table: arrow.Table) -> dict[str, int]:
        nonlocal writer, size, place
        if writer is None or size + table.nbytes > FILE_MB * 2**20:
            if writer is not None:
                writer.close()
            chunk, file = divmod(next(numbers), FILES_PER_CHUNK)
            path = root / DATA_PATH.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            writer, size = parquet.ParquetWriter(path, table.schema), 0
            place = {"data/chunk_index": chunk, "data/file_index": file}
        writer.write_table(table)
        size += table.nbytes
        return place

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _episode(demo: Demonstration, index: int, start: int, place: dict[str, int], stats: dict[str, dict]) -> dict:
    """A row of `meta/episodes`: LeRobot's columns, and what the demonstration began from."""
    facts = demo.facts
    row = {"episode_index": index, "tasks": [facts["language"]], "length": len(demo), **place}
    row |= {"dataset_from_index": start, "dataset_to_index": start + len(demo)}
    row |= {f"stats/{column}/{name}": value.tolist() for column, of in stats.items() for name, value in of.items()}
    row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
    begun = {"task_id": int(facts["task"]), "initial_state": int(facts["initial_state"]), "seed": int(facts["seed"])}
    return row | {"suite": facts["suite"]} | begun


def _write_meta(root: Path, episodes: list[dict], tasks: dict[str, int], stats: dict, columns: dict) -> None:
    """The folder `meta`; `info.json`, without which nothing reads a dataset, at the end."""
    frames = episodes[-1]["dataset_to_index"]
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    parquet.write_table(arrow.Table.from_pylist(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    index = pd.Index(list(tasks), dtype=object, name="task")
    pd.DataFrame({"task_index": list(tasks.values())}, index).to_parquet(root / "meta/tasks.parquet")
    plain = {column: {name: value.tolist() for name, value in of.items()} for column, of in stats.items()}
    (root / "meta/stats.json").write_text(json.dumps(plain, indent=4))
    info = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "features": columns,
        "total_episodes": len(episodes),
        "total_frames": frames,
        "total_tasks": len(tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": FILE_MB,
        "video_files_size_in_mb": 200,  # LeRobot's default; there are no videos
        "data_path": DATA_PATH,
        "video_path": None,
        "robot_type": "panda",
        "splits": {"train": f"0:{len(episodes)}"},
    }
    (root / "meta/info.json").write_text(json.dumps(info, indent=4))
