"""A checkpoint is a folder: weights (safetensors), config, normalisation statistics and tokenizer (JSON).

Nothing in it is executed on load. Checkpoints of openpi and LeRobot are read as they were published, never written.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from kvlab.pi0.config import Pi0Config
from kvlab.pi0.files import local_folder, other_kind, read_json
from kvlab.pi0.int8 import ACTIVATIONS, PRECISIONS, is_int8, to_floats, to_int8
from kvlab.pi0.model import Pi0
from kvlab.pi0.names import PI05_MARK, spare, wanted
from kvlab.pi0.normalisation import NORM_STATS, numbers, read_statistics
from kvlab.pi0.openpi import NORMS
from kvlab.pi0.policy import Conventions, Policy
from kvlab.pi0.published import describe, is_published, require_pi0
from kvlab.pi0.weights import WHOLE as WEIGHTS
from kvlab.pi0.weights import read_weights, tensor_names, weight_files

CONFIG, STATS, TOKENIZER = "config.json", "stats.json", "tokenizer.json"
PUBLISHED_FILES = ("*.json", "*.safetensors", *NORMS)
STAT_NAMES = ("state_mean", "state_std", "action_mean", "action_std")


def save(policy: Policy, folder: Path | str, dtype: torch.dtype = torch.bfloat16, precision: str | None = None) -> None:
    """Write a checkpoint folder, each file under a temporary name and then moved.

    With a `precision`, one of `int8.PRECISIONS`, the weights of the transformers' linear layers are rounded to int8,
    and the policy that is loaded from there computes with these; all other weights are stored as `dtype`.
    ValueError for a policy of a published checkpoint, whose conventions this format cannot hold, and for one in int8.
    """
    if policy.conventions != Conventions():
        raise ValueError("a published checkpoint stays in its own format: copy its folder instead of saving it anew")
    if is_int8(policy.model):
        raise ValueError("this policy is in int8: copy its folder, or take the checkpoint that it was made from")
    model = to_int8(deepcopy(policy.model)) if precision else policy.model
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stats = {name: np.asarray(policy.stats[name], dtype=np.float64).tolist() for name in STAT_NAMES}
    config = {"model": policy.config.to_json(), "trained_on": dict(policy.trained_on)}
    config |= {"precision": precision} if precision else {}
    texts = {
        CONFIG: json.dumps(config, indent=2) + "\n",
        STATS: json.dumps(stats, indent=2) + "\n",
        TOKENIZER: policy.tokenizer.to_str(pretty=True),
    }
    for name, text in texts.items():
        (folder / f"{name}.part").write_text(text)
        os.replace(folder / f"{name}.part", folder / name)
    floats = dict(model.named_parameters())  # what int8 adds are buffers
    weights = {
        name: tensor.detach().to("cpu", dtype if name in floats else tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    save_file(weights, folder / f"{WEIGHTS}.part")
    os.replace(folder / f"{WEIGHTS}.part", folder / WEIGHTS)


def load(
    checkpoint: Path | str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    tokenizer: Path | str | None = None,
    entries: Mapping[str, object] | None = None,
    statistics: Path | str | None = None,
) -> Policy:
    """Read a checkpoint: a folder in kvlab's own, LeRobot's or openpi's PyTorch format, or the id of one on the Hub.

    `tokenizer` names the tokenizer file where the folder has none: published ones leave PaliGemma's out. `statistics`
    names that of the normalisation where a published folder has none or others are wanted (`read_statistics`).
    `entries` are entries of a published `config.json` that it leaves out or should have otherwise, such as openpi's
    `discrete_state_input`, or LeRobot's `rename_map`. Ids are those of `files.local_folder`.
    Raises FileNotFoundError naming what is missing, ValueError where a file is damaged, is that of another policy, or
    where tensors are missing, unexpected or of another shape (all are named), or where there is no such device, and
    MemoryError where the weights do not fit. A model is never left with random weights.
    """
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"the device {device!r} is asked for, but torch finds no CUDA GPU on this machine: take 'cpu'")
    folder = local_folder(checkpoint)
    words = Path(tokenizer or folder / TOKENIZER).expanduser()
    entries = dict(entries or {}) | ({NORM_STATS: read_statistics(statistics)} if statistics else {})
    written = (folder / CONFIG).is_file()
    config = (read_json(folder / CONFIG) if written else {}) | entries
    if is_published(config):
        return _load_published(folder, config, device, dtype, words)
    if not written and (told := other_kind(folder)):
        raise ValueError(f"{folder} {told}")
    if entries:
        raise ValueError(f"{folder} is not a published checkpoint, whose config.json has the entries {sorted(entries)}")
    return _load_own(folder, config, device, dtype, words)


def _load_own(folder: Path, config: dict, device: str, dtype: torch.dtype, tokenizer: Path) -> Policy:
    files = {CONFIG: folder / CONFIG, STATS: folder / STATS, TOKENIZER: tokenizer, WEIGHTS: folder / WEIGHTS}
    if absent := [name for name, path in files.items() if not path.is_file()]:
        raise FileNotFoundError(f"{folder} is not a kvlab checkpoint: it lacks {', '.join(absent)}")
    if missing := {"model", "trained_on"} - config.keys():
        raise ValueError(f"{folder / CONFIG} is not a kvlab config: it lacks {sorted(missing)}")
    facts = config["trained_on"]
    suites = facts.get("suites", []) if isinstance(facts, dict) else None
    if not isinstance(suites, list) or not all(isinstance(suite, str) for suite in suites):
        raise ValueError(
            f"{folder / CONFIG}: trained_on should be an object, suites in it a list of names; got {facts!r}"
        )
    model = _own_model(folder, config, device, dtype)
    words = _tokenizer(tokenizer)
    if (many := words.get_vocab_size()) > (rows := model.config.vocab_size):
        raise ValueError(f"{tokenizer} has {many} tokens; the model has embeddings for {rows}")
    stats = _stats(folder / STATS, model.config)
    return Policy(model.eval().requires_grad_(False), stats, words, facts)


def _own_model(folder: Path, config: dict, device: str, dtype: torch.dtype) -> Pi0:
    model, precision = empty(Pi0Config.from_json(config["model"])), config.get("precision")
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"{folder / CONFIG}: precision should be {' or '.join(PRECISIONS)}, got {precision!r}")
    if precision == ACTIVATIONS and (torch.device(device).type, dtype) != ("cpu", torch.float32):
        raise ValueError(
            f"{folder} has {precision}, which kvlab computes on a CPU alone, the rest in float32; asked for is "
            f"{str(dtype).removeprefix('torch.')} on {device}: take the device cpu, or quantize without activations"
        )
    model = to_int8(model) if precision else model
    tensors = model.state_dict()
    parts = {name: {name: tuple(tensor.shape)} for name, tensor in tensors.items()}
    in_int8 = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    read_as = torch.float32 if precision else dtype  # scales are not to be rounded
    model.load_state_dict(read_weights([folder / WEIGHTS], parts, {}, device, read_as, in_int8), assign=True)
    return model if precision in (None, ACTIVATIONS) else to_floats(model).to(dtype)


def checkpoint_digest(checkpoint: Path | str) -> str:
    """SHA-256 (first 16 hex digits) of the files that determine what a checkpoint, or one on the Hub, does.

    Raises FileNotFoundError where one is missing.
    """
    folder = local_folder(checkpoint)
    names = [WEIGHTS, CONFIG, STATS, TOKENIZER]
    named = is_published(read_json(folder / CONFIG))
    if named:
        names = sorted({p.relative_to(folder).as_posix() for glob in PUBLISHED_FILES for p in folder.glob(glob)})
    files = [(folder / name, name if named else "") for name in names if (folder / name).is_file() or not named]
    return _digest(tuple((path, name, *_version(path)) for path, name in files))


def file_digest(path: Path) -> str:
    """The same of one file."""
    return _digest(((path, "", *_version(path)),))


def _version(path: Path) -> tuple[int, ...]:
    """What changes with a file's content, so that gigabytes are read once and not at every question."""
    told = path.stat()
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


@cache
def _digest(files: tuple[tuple, ...]) -> str:
    digest = hashlib.sha256()
    for path, name, *_ in files:
        digest.update(name.encode())
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _load_published(folder: Path, config: dict, device: str, dtype: torch.dtype, tokenizer: Path) -> Policy:
    require_pi0(folder, config)
    files = weight_files(folder)
    stored = tensor_names(files)
    told = describe(folder, config, any(name.endswith(PI05_MARK) for name in stored))
    if not tokenizer.is_file():
        raise FileNotFoundError(
            f"{tokenizer} is not there: published checkpoints leave PaliGemma's {TOKENIZER} out "
            "(google/paligemma-3b-pt-224 has it), so put it beside the weights (of an id on the Hub, after "
            "`hf download ID --local-dir FOLDER`) or name it: --tokenizer FILE"
        )
    words = _tokenizer(tokenizer)
    if (first := words.token_to_id("<bos>")) is None:
        raise ValueError(f"{tokenizer} is not PaliGemma's tokenizer: it has no token <bos>")
    words.no_padding()
    words.no_truncation()
    model = empty(told.config)
    shapes = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    parts = wanted(told.config, shapes, stored)
    weights = read_weights(files, parts, spare(told.config), device, dtype)
    model.load_state_dict(weights, assign=True)
    conventions = replace(told.conventions, first_token=first)
    return Policy(model.eval().requires_grad_(False), told.stats, words, told.trained_on, conventions)


def empty(config: Pi0Config) -> Pi0:
    """A model of this shape on the device `meta`, without memory: for weights that come from elsewhere.

    Its random numbers are left out: to draw them where they have no place torch imports its compiler, for a second.
    """
    with torch.device("meta"), patch.object(torch.nn.init, "normal_"):
        return Pi0(config)


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} is not a readable tokenizer: {error}") from error


def _stats(path: Path, config: Pi0Config) -> dict[str, np.ndarray]:
    data = read_json(path)
    if data.keys() != set(STAT_NAMES):
        raise ValueError(f"{path} should hold {sorted(STAT_NAMES)}, got {sorted(data)}")
    widths = {name: config.state_dim if name.startswith("state") else config.action_dim for name in data}
    stats = {k: numbers(v, f"{path}: {k}", widths[k]).astype(np.float32) for k, v in data.items()}
    if wrong := [name for name in ("state_std", "action_std") if stats[name].min() <= 0]:
        raise ValueError(f"{path}: {' and '.join(wrong)} should be above 0, got {data[wrong[0]]}")
    return stats
