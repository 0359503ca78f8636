"""kvlab: when may a Pi0 policy reuse the KV cache of an earlier control step, what does it cost, what does it save?

What a loop of one's own needs is here by name, imported when it is first asked for: torch takes a second, and reads
the variables of `kvlab.numerics` as it is imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvlab.pi0 import Policy, load
    from kvlab.reuse import CachedPolicy, Replan, parse_execution, parse_gate, parse_mode

__version__ = "0.1.0"
__all__ = ["CachedPolicy", "Policy", "Replan", "load", "parse_execution", "parse_gate", "parse_mode"]

_IN_PI0 = ("Policy", "load")


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module("kvlab.pi0" if name in _IN_PI0 else "kvlab.reuse"), name)
    globals()[name] = found  # asked for once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
