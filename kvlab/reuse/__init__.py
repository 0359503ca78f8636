"""Reuse across control steps: what is reused (modes), when (gates), and the policy that does it and logs it."""

from kvlab.reuse.execution import Execution, parse_execution
from kvlab.reuse.gates import Gate, parse_gate
from kvlab.reuse.modes import Mode, parse_mode
from kvlab.reuse.policy import CachedPolicy, Replan

__all__ = ["CachedPolicy", "Execution", "Gate", "Mode", "Replan", "parse_execution", "parse_gate", "parse_mode"]
