"""The GPU engine: Pi0's inference by CUDA graphs and Triton kernels; see `Engine`. Nothing else needs Triton."""

try:
    from kvlab.pi0.engine.engine import Engine, accelerate
except ModuleNotFoundError as error:
    if error.name != "triton":
        raise
    raise ModuleNotFoundError(
        "the engine needs Triton, which torch's CUDA builds bring along: pip install triton"
    ) from error

__all__ = ["Engine", "accelerate"]
