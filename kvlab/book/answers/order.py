"""In which order to buy: one sentence for every page that recommends a setting."""

import pandas as pd

from kvlab.book.answers import devices, programs


def line() -> str:
    """`said` of what is recorded."""
    return said(programs.recorded(), devices.engine_loss(devices.on_gpu()))


def short() -> str:
    """The order alone, without times."""
    return _steps(devices.engine_loss(devices.on_gpu()))


def _steps(loss: str) -> str:
    return (
        "**Buy in this order:** nothing, if the policy without reuse fits your budget; a faster program, which changes "
        f"rounding alone ({loss}: [Inside the engine](engine.ipynb)); fewer denoising steps; then only what your own "
        "episodes clear: more executed actions, a kept chunk or a KV cache."
    )


def said(ways: pd.DataFrame, loss: str) -> str:
    """What to buy first and last, what the first changes (`loss`, of `devices.engine_loss`), and how far it gets."""
    ms = ways["ms"]
    compiled = ""
    if programs.COMPILED in ms:
        compiled = f", {ms[programs.COMPILED]:.1f} ms by torch.compile in one CUDA graph"
    return (
        f"{_steps(loss)} On one H100 a full-size policy takes {ms[programs.ENGINE]:.1f} ms a replan by the "
        f"engine{compiled} ([What it saves](saves.ipynb))."
    )
