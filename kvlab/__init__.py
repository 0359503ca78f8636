"""kvlab: when may a Pi0 policy reuse the KV cache of an earlier control step, what does it cost, what does it save?"""

__version__ = "0.1.0"
