"""Other processes as tests see them."""

import time
from collections.abc import Callable

import psutil


def runs(process: int) -> bool:
    """Whether it does more than wait for a parent to take note of its end, which not every first process does."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable, seconds: float = 60):
    """What `condition` returns once it is true. AssertionError: it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"it did not come about within {seconds:g} s"
        time.sleep(0.05)
    return found
