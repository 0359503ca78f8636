"""A policy that reuses, behind websocket protocols that clients already speak: openpi's and vla-evaluation-harness'."""

from kvlab.serve.served import Served
from kvlab.serve.server import PROTOCOLS, running

__all__ = ["PROTOCOLS", "Served", "running"]
