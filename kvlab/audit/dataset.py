"""LeRobot datasets of format v3, read without LeRobot; nothing in them is executed.

Layout and names are those that LeRobot writes (`lerobot/datasets/utils.py`, 0.4 to 0.6): frames as pictures in the
Parquet files or as one video of many episodes, the text of an episode's task in `meta/episodes`.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
from jaxtyping import Float32, UInt8
from PIL import Image
from pydantic import Field

from kvlab.pi0.entries import Entries
from kvlab.pi0.files import inside, read_json
from kvlab.pi0.lerobot import CAMERAS, IMAGES

STATES = ("observation.state", "state")  # LeRobot's name and that of openpi's LIBERO data
PLACE = "{0}/chunk-{1:03d}/file-{2:03d}.{3}"
EPISODE = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]


class Feature(Entries):
    dtype: str


class Info(Entries):
    """Of `meta/info.json`, what reading depends on."""

    codebase_version: str
    fps: float = Field(gt=0)
    features: dict[str, Feature]


@dataclass(frozen=True)
class Seen:
    """One moment of a dataset: frames by the policy's cameras, as they are kept, and the raw state."""

    frames: dict[str, UInt8[np.ndarray, "h w 3"]]
    state: Float32[np.ndarray, " state"]


@dataclass(frozen=True)
class Dataset:
    """A dataset's description and its episodes, as rows of `meta/episodes`."""

    root: Path
    fps: float  # frames a second
    columns: dict[str, str]  # of each camera, under the name that a policy has for it
    videos: frozenset[str]  # columns that are kept as videos
    state: str  # its column
    episodes: tuple[dict, ...]

    @classmethod
    def open(cls, root: Path) -> "Dataset":
        """FileNotFoundError where there is no such folder, ValueError where it is no v3 dataset or has no episode."""
        if not root.is_dir():
            raise FileNotFoundError(f"there is no folder {root}")
        if not (path := root / "meta/info.json").is_file():
            raise ValueError(f"{root} is not a LeRobot dataset of format v3: it lacks meta/info.json")
        info = Info.read(read_json(path), path)
        if not info.codebase_version.startswith("v3."):
            raise ValueError(
                f"{root} is a LeRobot dataset of format {info.codebase_version}, not v3: LeRobot's "
                "convert_dataset_v21_to_v30 brings it up to date"
            )
        kinds = {name: feature.dtype for name, feature in info.features.items()}
        frames = {name.removeprefix(IMAGES): name for name, kind in kinds.items() if kind in ("image", "video")}
        if (state := next((name for name in STATES if name in kinds), None)) is None:
            raise ValueError(f"{root} has no {STATES[0]}, only {', '.join(sorted(kinds)) or 'nothing'}")
        videos = frozenset(name for name, kind in kinds.items() if kind == "video")
        names = EPISODE + [f"videos/{video}/{what}" for video in videos for what in _PLACED]
        rows = [row for file in sorted(root.glob("meta/episodes/*/*.parquet")) for row in _rows(file, names)]
        if not rows or not all(row["length"] for row in rows):
            raise ValueError(f"{root} has no episodes" if not rows else f"{root} has an episode without any frame")
        named = {CAMERAS.get(short, short): column for short, column in frames.items()}
        return cls(root, info.fps, named, videos, state, tuple(rows))

    def require(self, cameras: Sequence[str]) -> None:
        """ValueError where one of these cameras is missing."""
        if missing := [camera for camera in cameras if camera not in self.columns]:
            has = ", ".join(f"{camera} ({column})" for camera, column in self.columns.items()) or "none"
            raise ValueError(
                f"the checkpoint needs the camera {', '.join(missing)}, and {self.root} has {has}; where it has "
                "another name, --config rename_map=... of a LeRobot checkpoint says which is which"
            )

    def task(self, episode: dict) -> str:
        """ValueError unless the episode has one task, in words."""
        told = [text for text in episode["tasks"] or [] if text and text.strip()]
        if len(told) != 1:
            raise ValueError(
                f"{self.root}: episode {episode['episode_index']} should have the text of one task, it has "
                f"{len(told) or 'none'}"
            )
        return told[0]

    def read(self, episode: dict, wanted: Sequence[int], cameras: Sequence[str]) -> dict[int, Seen]:
        """These frames of an episode, by their number in it. ValueError where a file is damaged or lacks them."""
        columns = [self.columns[camera] for camera in cameras]
        path = self.root / PLACE.format("data", episode["data/chunk_index"], episode["data/file_index"], "parquet")
        mine = [("episode_index", "==", episode["episode_index"]), ("frame_index", "in", list(wanted))]
        pictures = [column for column in columns if column not in self.videos]
        rows = {row["frame_index"]: row for row in _rows(path, ["frame_index", self.state, *pictures], mine)}
        if missing := [frame for frame in wanted if frame not in rows]:
            raise ValueError(f"{path} lacks frame {missing[0]} of episode {episode['episode_index']}")
        found = {column: [_picture(rows[frame][column], path, column) for frame in wanted] for column in pictures}
        found |= {column: self._film(episode, column, wanted) for column in columns if column in self.videos}
        return {
            frame: Seen(
                {camera: found[column][n] for camera, column in zip(cameras, columns, strict=True)},
                np.asarray(rows[frame][self.state], np.float32).reshape(-1),
            )
            for n, frame in enumerate(wanted)
        }

    def _film(self, episode: dict, column: str, wanted: Sequence[int]) -> list[np.ndarray]:
        """Frames of a video, in which the episode begins at its `from_timestamp` (s)."""
        chunk, file, start = (episode[f"videos/{column}/{what}"] for what in _PLACED)
        path = self.root / PLACE.format(f"videos/{inside(self.root, column).name}", chunk, file, "mp4")
        if not path.is_file():
            raise ValueError(f"{path} is not there, and meta/episodes says that it holds frames")
        seek = f"{max(0.0, start - 0.5 / self.fps):.6f}"  # half a frame early: times in a video are rounded
        film = imageio_ffmpeg.read_frames(
            path,
            input_params=["-protocol_whitelist", "file", "-f", "mp4", "-ss", seek],
            output_params=["-fps_mode", "passthrough"],
        )
        try:
            width, height = next(film)["size"]
            kept = {n: raw for n, raw in enumerate(islice(film, max(wanted) + 1)) if n in {*wanted}}
        except (OSError, RuntimeError, StopIteration, KeyError) as error:
            raise ValueError(f"{path} is not a readable video") from error
        finally:
            film.close()
        if len(kept) < len(wanted):
            raise ValueError(f"{path} ends before episode {episode['episode_index']} does")
        return [np.frombuffer(kept[frame], np.uint8).reshape(height, width, 3) for frame in wanted]


_PLACED = ("chunk_index", "file_index", "from_timestamp")


def _rows(path: Path, columns: list[str], filters: list | None = None) -> list[dict]:
    """ValueError where a Parquet file is missing, damaged or without one of the columns."""
    if not path.is_file():
        raise ValueError(f"{path} is not there")
    try:
        has = parquet.read_schema(path).names
        if missing := [name for name in columns if name not in has]:
            raise ValueError(f"{path} has no column {missing[0]}; it has {', '.join(has[:12])}")
        return parquet.read_table(path, columns=columns, filters=filters, partitioning=None).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _picture(cell: object, path: Path, column: str) -> UInt8[np.ndarray, "h w 3"]:
    try:
        return np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB"))
    except Exception as error:  # whatever a damaged picture makes its decoder raise
        raise ValueError(f"{path} has a cell in {column} that is no readable picture") from error
