"""What LeRobot itself writes for three tiny episodes: `lerobot_layout.json`, with which the export's tests compare.

Made by LeRobot 0.6.1 (`lerobot[dataset]`, Python 3.12) with

    HF_HUB_OFFLINE=1 python tests/sim/lerobot_layout.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet

SIZE, LENGTHS, TASKS = 16, (9, 6, 12), ("put the bowl on the plate", "open the drawer", "put the bowl on the plate")
CAMERAS = {"agentview": "observation.images.image", "wrist": "observation.images.image2"}


def episodes() -> list[dict[str, np.ndarray]]:
    """Episodes as demonstrations hold them: what is random has another range in each."""
    rng = np.random.default_rng(0)
    made = []
    for k, length in enumerate(LENGTHS, 1):
        frames = {name: rng.integers(0, 80 * k, (length, SIZE, SIZE, 3), np.uint8) for name in CAMERAS}
        state = rng.normal(0.0, k, (length, 8)).astype(np.float32)
        state[:, 3:6] = rng.uniform([2.0, -0.3, -0.3], [3.0, 0.3, 0.3], (length, 3))  # a hand that points down
        action = rng.uniform(-1, 1, (length, 7)).astype(np.float32)
        made.append(frames | {"state": state, "action": action})
    return made


def layout(root: Path) -> dict:
    """Files, JSON and Parquet schemas of a dataset, and the statistics of each episode."""
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    found = {name: parquet.read_schema(root / name) for name in files if name.endswith("parquet")}
    episodes = parquet.read_table(root / "meta/episodes/chunk-000/file-000.parquet")
    return {
        "files": files,
        "info": json.loads((root / "meta/info.json").read_text()),
        "stats": json.loads((root / "meta/stats.json").read_text()),
        "episodes": episodes.to_pylist(),
        "tasks": pd.read_parquet(root / "meta/tasks.parquet")["task_index"].to_dict(),
        "row_groups": parquet.read_metadata(root / "data/chunk-000/file-000.parquet").num_row_groups,
        "schemas": {
            name: dict(zip(schema.names, map(str, schema.types), strict=True)) for name, schema in found.items()
        },
        "hub": json.loads(found["data/chunk-000/file-000.parquet"].metadata[b"huggingface"])["info"],
    }


def write(root: Path) -> None:
    """The episodes, their frames mirrored."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    frame = {"dtype": "image", "shape": (SIZE, SIZE, 3), "names": ["height", "width", "channel"]}
    hand = ["x", "y", "z", "axis_angle_x", "axis_angle_y", "axis_angle_z"]
    features = dict.fromkeys(CAMERAS.values(), frame)
    features["observation.state"] = {"dtype": "float32", "shape": (8,), "names": [*hand, "finger_1", "finger_2"]}
    features["action"] = {"dtype": "float32", "shape": (7,), "names": [*hand, "gripper"]}
    dataset = LeRobotDataset.create("kvlab/tiny", 20, features, root, "panda", use_videos=False)
    for episode, task in zip(episodes(), TASKS, strict=True):
        for t in range(len(episode["action"])):
            frames = {CAMERAS[name]: episode[name][t, :, ::-1] for name in CAMERAS}
            rest = {"observation.state": episode["state"][t], "action": episode["action"][t], "task": task}
            dataset.add_frame(frames | rest)
        dataset.save_episode()
    dataset.finalize()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write(root := Path(folder) / "tiny")
        parts = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in layout(root).items()]
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
