"""Pi0: the model, its prefix cache by segment and layer, checkpoints and training. Knows nothing of LIBERO or gates."""

from kvlab.pi0.cache import KVCache
from kvlab.pi0.checkpoint import load, save
from kvlab.pi0.config import PRESETS, GemmaConfig, Pi0Config, SiglipConfig
from kvlab.pi0.model import Pi0
from kvlab.pi0.policy import Conventions, Policy

__all__ = [
    "PRESETS",
    "Conventions",
    "GemmaConfig",
    "KVCache",
    "Pi0",
    "Pi0Config",
    "Policy",
    "SiglipConfig",
    "load",
    "save",
]
