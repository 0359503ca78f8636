"""Sizes of a Pi0 model. Presets: `base` and `base_pi05` as published, `mini` for LIBERO on a CPU."""

from dataclasses import asdict, dataclass, fields, replace

from kvlab.pi0.rotation import ROTATIONS, WITHOUT_JUMPS


@dataclass(frozen=True)
class SiglipConfig:
    """Image encoder. `stem` lists the channels of 3 x 3 convolutions of stride 2 before the patch embedding."""

    width: int
    depth: int
    mlp_dim: int
    num_heads: int
    patch_size: int  # pixels of the stem's output (of the image, without a stem) along one side of a token
    stem: tuple[int, ...] = ()  # empty for the published SigLIP


@dataclass(frozen=True)
class GemmaConfig:
    """One stream of the two-stream transformer: the prefix language model or the action expert."""

    width: int
    mlp_dim: int
    depth: int
    num_heads: int
    num_kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Pi0Config:
    """Everything that determines the shape of a model and of what goes in and out of it."""

    vision: SiglipConfig
    prefix: GemmaConfig
    expert: GemmaConfig
    vocab_size: int
    max_tokens: int  # prompt length after padding
    image_size: int  # pixels along one side, square
    cameras: tuple[str, ...]
    state_dim: int
    action_dim: int
    chunk: int  # actions predicted per inference
    denoising_steps: int = 10  # Euler steps from noise (t = 1) to actions (t = 0)
    pi05: bool = False  # Pi0.5: time enters by adaptive RMS norms, and there is no state token
    time_dtype: str = "float32"  # of the time embedding's angles; float64 in openpi's PyTorch port and in LeRobot
    rotation: str = "axis_angle"  # one of ROTATIONS: the form of the state's orientation

    def __post_init__(self) -> None:
        shared = ("depth", "num_heads", "num_kv_heads", "head_dim")
        odd = [f for f in shared if getattr(self.prefix, f) != getattr(self.expert, f)]
        if odd:
            raise ValueError(f"prefix and expert attend jointly, so their {', '.join(odd)} must be equal")
        for name, stream in (("vision", self.vision), ("prefix", self.prefix)):
            whole, part = ("width", "num_heads") if name == "vision" else ("num_heads", "num_kv_heads")
            if getattr(stream, whole) % getattr(stream, part):
                raise ValueError(f"{name}.{whole} is not a multiple of {name}.{part}")
        if not self.cameras or len({*self.cameras}) < len(self.cameras):
            raise ValueError(f"cameras should be named, each once, got {self.cameras}")
        if self.image_size % self.token_stride:
            raise ValueError(f"image_size {self.image_size} is not a multiple of the token stride {self.token_stride}")
        if self.rotation not in ROTATIONS:
            raise ValueError(f"rotation should be one of {', '.join(ROTATIONS)}, got {self.rotation!r}")
        if self.rotation == "6d" and self.state_dim != WITHOUT_JUMPS:
            raise ValueError(f"with rotation 6d the model takes {WITHOUT_JUMPS} numbers of state, not {self.state_dim}")
        if self.time_dtype not in ("float32", "float64"):
            raise ValueError(f"time_dtype should be float32 or float64, got {self.time_dtype!r}")

    def without_jumps(self) -> "Pi0Config":
        """The same model for a state whose orientation does not jump."""
        return replace(self, rotation="6d", state_dim=WITHOUT_JUMPS)

    @property
    def token_stride(self) -> int:
        """Image pixels along one side of a token."""
        return self.vision.patch_size * 2 ** len(self.vision.stem)

    @property
    def image_tokens(self) -> int:
        """Tokens of one camera."""
        return (self.image_size // self.token_stride) ** 2

    def to_json(self) -> dict:
        """Without `rotation` where that is the axis-angle: checkpoints made anew, as in int8, keep their bytes."""
        return {k: v for k, v in asdict(self).items() if (k, v) != ("rotation", "axis_angle")}

    @classmethod
    def from_json(cls, data: dict) -> "Pi0Config":
        """Inverse of `to_json`. Raises ValueError that names the fields which are missing, unknown or no size."""
        return _build(cls, data, "config")


LISTS = {tuple[str, ...]: str, tuple[int, ...]: int}  # types of fields, which JSON holds as lists


def _is_list(values: object, of: type) -> bool:
    """Of texts, or of whole numbers above 0."""
    return isinstance(values, list | tuple) and all(type(v) is of and (of is str or v > 0) for v in values)


def _build(cls: type, data: dict, where: str):
    if not isinstance(data, dict):
        raise ValueError(f"{where} should be an object with the fields of {cls.__name__}, got {type(data).__name__}")
    names = {f.name: f for f in fields(cls)}
    needed = {n for n, f in names.items() if f.default is f.default_factory}  # both are dataclasses.MISSING
    missing, unknown = sorted(needed - data.keys()), sorted(data.keys() - names.keys())
    if missing or unknown:
        raise ValueError(f"{where} is not that of a Pi0 model: missing {missing}, unknown {unknown}")
    for name in data:
        if names[name].type is int and (type(data[name]) is not int or data[name] < 1):
            raise ValueError(f"{where}.{name} should be a whole number above 0, got {data[name]!r}")
        if names[name].type is bool and type(data[name]) is not bool:
            raise ValueError(f"{where}.{name} should be true or false, got {data[name]!r}")
        if (of := LISTS.get(names[name].type)) and not _is_list(data[name], of):
            raise ValueError(f"{where}.{name} should be a list of {of.__name__}, got {data[name]!r}")
    parts = {"vision": SiglipConfig, "prefix": GemmaConfig, "expert": GemmaConfig}
    return cls(
        **{
            k: _build(parts[k], v, f"{where}.{k}") if k in parts else tuple(v) if isinstance(v, list) else v
            for k, v in data.items()
        }
    )


def _gemma(width: int, mlp_dim: int, depth: int, num_heads: int, head_dim: int) -> GemmaConfig:
    return GemmaConfig(width, mlp_dim, depth, num_heads, num_kv_heads=1, head_dim=head_dim)


PRESETS = {
    # Trained here on LIBERO: small enough for closed-loop studies on two CPU cores.
    "mini": Pi0Config(
        vision=SiglipConfig(width=192, depth=4, mlp_dim=768, num_heads=3, patch_size=2, stem=(32, 64, 128)),
        prefix=_gemma(width=256, mlp_dim=768, depth=5, num_heads=4, head_dim=64),
        expert=_gemma(width=192, mlp_dim=576, depth=5, num_heads=4, head_dim=64),
        vocab_size=256,
        max_tokens=24,
        image_size=128,
        cameras=("agentview", "wrist"),
        state_dim=8,
        action_dim=7,
        chunk=16,
    ),
    # PaliGemma 3B (SigLIP So400m/14 and Gemma 2B) with the 300M action expert: openpi, src/openpi/models/pi0.py.
    "base": Pi0Config(
        vision=SiglipConfig(width=1152, depth=27, mlp_dim=4304, num_heads=16, patch_size=14),
        prefix=_gemma(width=2048, mlp_dim=16384, depth=18, num_heads=8, head_dim=256),
        expert=_gemma(width=1024, mlp_dim=4096, depth=18, num_heads=8, head_dim=256),
        vocab_size=257152,
        max_tokens=48,
        image_size=224,
        cameras=("agentview", "wrist"),
        state_dim=32,
        action_dim=32,
        chunk=50,
    ),
}
# Half and twice the parameters of `mini`, on the same frames, for chunks of the same length.
PRESETS["mini_half"] = replace(
    PRESETS["mini"],
    vision=SiglipConfig(width=144, depth=4, mlp_dim=576, num_heads=3, patch_size=2, stem=(24, 48, 96)),
    prefix=_gemma(width=192, mlp_dim=512, depth=5, num_heads=3, head_dim=64),
    expert=_gemma(width=128, mlp_dim=384, depth=5, num_heads=3, head_dim=64),
)
PRESETS["mini_double"] = replace(
    PRESETS["mini"],
    vision=SiglipConfig(width=256, depth=4, mlp_dim=1024, num_heads=4, patch_size=2, stem=(32, 64, 128)),
    prefix=_gemma(width=384, mlp_dim=1088, depth=5, num_heads=6, head_dim=64),
    expert=_gemma(width=256, mlp_dim=768, depth=5, num_heads=6, head_dim=64),
)
TRAINED = ("mini", "mini_half", "mini_double")  # what `kvlab train` makes; the others come from elsewhere
# Its prompt holds the state: openpi, src/openpi/models/pi0_config.py.
PRESETS["base_pi05"] = replace(PRESETS["base"], pi05=True, max_tokens=200)
