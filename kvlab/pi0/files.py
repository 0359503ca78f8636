"""Finding a checkpoint's folder, saying what else it may be, and reading its files without trusting them."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

HUB_ID = re.compile(r"(?:hf:/{1,2})?(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\w[\w./-]*))?")
ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")  # a path that lost a slash is one still
HUB_FILES = ("*.json", "model*.safetensors", "policy_*.safetensors", "assets/**")
LFS_POINTER = b"version https://git-lfs"


def local_folder(checkpoint: Path | str) -> Path:
    """The folder itself or, of a Hub id, a downloaded copy, which is kept.

    An id is `owner/name` or `owner/name@revision` (a branch, a tag or a commit), with or without `hf://`. `~` is the
    home folder. Raises FileNotFoundError where there is no such folder, or where a Hub id is neither in the cache nor
    can be fetched, and ValueError where it is a file or an address of another kind.
    """
    text = os.path.expanduser(checkpoint)
    if (folder := Path(text)).exists():
        if folder.is_dir():
            return folder
        raise ValueError(f"{folder} is a file: name the folder of the checkpoint that it belongs to")
    if hub := HUB_ID.fullmatch(text):
        return _fetched(checkpoint, hub["name"], hub["revision"])
    if ADDRESS.match(text):
        raise ValueError(
            f"{text} is an address: download it and give its folder, or write an id on the Hugging Face Hub as "
            "owner/name or owner/name@revision"
        )
    raise FileNotFoundError(f"there is no folder {folder}")


def _fetched(checkpoint: Path | str, name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # takes a second, and few need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(HUB_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"{checkpoint} is no folder here and could not be had from the Hugging Face Hub "
            f"({type(error).__name__}): download it where there is network and give its folder"
        ) from error


def hub_commit(folder: Path) -> str | None:
    """`owner/name@commit` of a folder in the Hub's cache (`models--owner--name/snapshots/commit`); None elsewhere."""
    snapshots, repository = folder.parent, folder.parent.parent.name
    if snapshots.name != "snapshots" or not repository.startswith("models--"):
        return None
    return f"{repository.removeprefix('models--').replace('--', '/', 1)}@{folder.name}"


def other_kind(folder: Path) -> str | None:
    """What a folder without `config.json` is instead, and what to do with it; None where nobody can tell."""
    has = {path.name for path in folder.iterdir()}
    if "params" in has:
        return (
            "is in openpi's JAX format: convert it by openpi's examples/convert_jax_model_to_pytorch.py, and put its "
            "folder assets beside what comes out"
        )
    if {"model.safetensors", "metadata.pt"} <= has:
        return (
            "was written by openpi's train_pytorch.py, which leaves config.json out: write one with action_horizon, "
            "paligemma_variant and action_expert_variant of its training configuration, and discrete_state_input "
            "(Pi0.5) or extra_delta_transform (Pi0)"
        )
    if "adapter_config.json" in has:
        return "holds a LoRA adapter alone: merge it into its base model and save that"
    if "pretrained_model" in has:
        return f"is a step of LeRobot's training: the checkpoint is {folder / 'pretrained_model'}"
    inner = sorted(name for name in has if _looks_like_checkpoint(folder / name))
    return f"holds checkpoints, of which one should be named: {', '.join(inner)}" if inner else None


def _looks_like_checkpoint(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("config.json", "model.safetensors", "params", "pretrained_model"))


def read_json(path: Path) -> dict:
    """The object in a JSON file. ValueError where it is not readable, names an entry twice or holds something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {_pointer(path) or error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} should hold a JSON object, got {type(data).__name__}")
    return data


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(entries := dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it names an entry twice: {', '.join(n for n in entries if names.count(n) > 1)}")
    return entries


def inside(folder: Path, name: str) -> Path:
    """The file of that name in `folder`. ValueError where the name, which a checkpoint wrote, leads elsewhere."""
    if Path(name).name != name:
        raise ValueError(f"{folder} names the file {name!r}, which is not one of the folder's own: it is not opened")
    return folder / name


@contextmanager
def damage_is_named(path: Path) -> Iterator[None]:
    """ValueError that names `path` where what is inside finds it to be no whole safetensors file."""
    try:
        yield
    except SafetensorError as error:
        told = _pointer(path) or f"is truncated or not a safetensors file: {error}"
        raise ValueError(f"{path} {told}") from error


def _pointer(path: Path) -> str | None:
    with path.open("rb") as file:
        is_pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    return "is a pointer of Git LFS and not the file itself: run git lfs pull in its repository" if is_pointer else None
