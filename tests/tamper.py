"""Changes to a checkpoint's files, as somebody else might have written them."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file


def edit(path: Path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_weights(path: Path, change) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
