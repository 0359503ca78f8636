"""Finding a checkpoint's folder and reading its JSON."""

import json
import re
from pathlib import Path

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ("*.json", "model.safetensors", "policy_*.safetensors", "assets/**")


def local_folder(checkpoint: Path | str) -> Path:
    """The folder itself or, of a Hub id such as `lerobot/pi0_libero_finetuned`, a downloaded copy, which is kept.

    Raises FileNotFoundError where a Hub id is neither in the cache nor can be fetched.
    """
    if Path(checkpoint).exists() or not HUB_ID.fullmatch(str(checkpoint)):
        return Path(checkpoint)
    from huggingface_hub import snapshot_download  # takes a second, and few need it
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(checkpoint), allow_patterns=list(HUB_FILES)))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise FileNotFoundError(
            f"{checkpoint} is no folder here and could not be had from the Hugging Face Hub "
            f"({type(error).__name__}): download it where there is network and give its folder"
        ) from error


def read_json(path: Path) -> dict:
    """The object in a JSON file. ValueError where it is not readable or holds something else."""
    try:
        data = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} should hold a JSON object, got {type(data).__name__}")
    return data
