"""What a folder in openpi's PyTorch format says beside its weights: `config.json` and `assets/*/norm_stats.json`.

The converter (openpi, `examples/convert_jax_model_to_pytorch.py`) writes sizes alone. What else decides is in openpi's
training configuration (`src/openpi/training/config.py`), and may be added to `config.json` under openpi's own names.
"""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, PositiveInt

from kvlab.pi0.entries import Entries, Told
from kvlab.pi0.files import read_json
from kvlab.pi0.normalisation import affine
from kvlab.pi0.policy import STATE_PROMPT, Conventions

CAMERAS = ("agentview", "wrist")  # the third that openpi feeds is masked, which is the same as not there
WIDTHS = {"state": 8, "actions": 7}  # of LIBERO; openpi cuts what is padded to them (`Normalize`, `LiberoOutputs`)
PADDED = 32  # openpi's default of `action_dim`
# Of an id of data with a slash or without. `**` would not follow a link to a folder.
NORMS = ("assets/norm_stats.json", "assets/*/norm_stats.json", "assets/*/*/norm_stats.json")
# What the converter leaves out and no default can tell: the entry, and its values in the published LIBERO checkpoints.
DECIDES = {
    True: ("discrete_state_input", "false", "false in openpi's pi05_libero, not used by pi0_libero, and else true"),
    False: ("extra_delta_transform", "true", "true in openpi's pi0_libero, false in pi05_libero"),
}


class Config(Entries):
    """What the converter writes, then openpi's `Pi0Config`, then its `LeRobotLiberoDataConfig`."""

    model_config = ConfigDict(extra="forbid")

    action_dim: PositiveInt | None = None
    action_horizon: PositiveInt | None = None
    paligemma_variant: str | None = None
    action_expert_variant: str | None = None
    precision: Literal["float32", "bfloat16", "float16"] | None = None
    pi05: bool | None = None
    max_token_len: PositiveInt | None = None
    discrete_state_input: bool | None = None
    dtype: str | None = None
    pytorch_compile_mode: str | None = None
    extra_delta_transform: bool | None = None
    norm_stats: dict[str, dict] | None = None  # given from outside: in place of the folder's


def read(folder: Path, data: dict, pi05_weights: bool) -> Told:
    """Raises FileNotFoundError without statistics, and ValueError where an entry is missing, unknown or wrong."""
    where = folder / "config.json"
    config = Config.read(data, where)
    name, example, values = DECIDES[pi05_weights]
    if name not in config.model_fields_set:
        raise ValueError(
            f"{where} lacks {name}, which openpi's converter does not write and which decides what this policy does "
            f"({values}): add it to config.json, or give it as --config {name}={example}"
        )
    path, norms = (where, config.norm_stats) if config.norm_stats else _norms(folder)
    mode = "QUANTILES" if pi05_weights else "MEAN_STD"
    stats = {}
    for ours, theirs in (("state", "state"), ("action", "actions")):
        told = {name: _cut(values, theirs, config.action_dim) for name, values in (norms.get(theirs) or {}).items()}
        stats |= affine(ours, told, mode, lambda width: width + 1e-6, path)
    # Where it is null, openpi takes it for what the model is.
    in_prompt = pi05_weights and config.discrete_state_input is not False
    return Told(
        variants=(config.paligemma_variant, config.action_expert_variant),
        sizes={
            "chunk": config.action_horizon,
            "state_dim": config.action_dim,
            "action_dim": config.action_dim,
            "max_tokens": config.max_token_len,
            "pi05": pi05_weights if config.pi05 is None else config.pi05,
            "cameras": CAMERAS,
        },
        stats=stats,
        conventions=Conventions(
            STATE_PROMPT if in_prompt else "{words}\n",
            resize="rounded",
            relative=(*[True] * 6, False) if config.extra_delta_transform else (),
        ),
        facts={"format": "openpi", "statistics": str(path.relative_to(folder))},
    )


def _norms(folder: Path) -> tuple[Path, dict]:
    """The one file of statistics, and what it holds."""
    found = sorted(path for pattern in NORMS for path in folder.glob(pattern))
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise FileNotFoundError(
            f"{folder} should hold one assets/*/norm_stats.json with the normalisation statistics, it has {names}; "
            "--statistics names such a file elsewhere"
        )
    norms = read_json(found[0]).get("norm_stats")
    if not isinstance(norms, dict) or not all(isinstance(one, dict | None) for one in norms.values()):
        raise ValueError(f"{found[0]}: norm_stats should be an object with one of state and of actions in it")
    return found[0], norms


def _cut(values: object, theirs: str, action_dim: int | None) -> object:
    """A statistic of LIBERO's width where it is padded to the model's, as in some of openpi's checkpoints."""
    padded = isinstance(values, list) and len(values) >= (action_dim or PADDED) and len(values) > max(WIDTHS.values())
    return values[: WIDTHS[theirs]] if padded else values
