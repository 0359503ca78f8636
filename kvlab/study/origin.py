"""Where a row or a time is from: what its rounding, its pixels and its speed depend on besides the code."""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from kvlab.numerics import NUMERICS, is_portable


@dataclass(frozen=True)
class Origin:
    """The one description of a machine, in rows and beside tables of times."""

    processor: str  # its name with vendor, family and model: machines of one name may round differently
    instructions: str  # the widest instruction set that torch's own kernels use
    torch: str
    drawn_by: str  # the OpenGL driver, of Mesa with its version and LLVM's; empty where nothing was drawn
    computed_by: str  # what ran the policy: cpu, or the GPU's name
    numerics: str  # of `kvlab.numerics`


def origin(drawn_by: str = "", device: str = "cpu") -> Origin:
    """This machine and process; `device` is one of a protocol's."""
    return Origin(
        processor=processor(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        torch=torch.__version__,
        drawn_by=drawn_by,
        computed_by="cpu" if device == "cpu" else torch.cuda.get_device_name(),
        numerics=NUMERICS[0] if is_portable() else NUMERICS[1],
    )


def processor() -> str:
    """As in `AMD EPYC (AuthenticAMD, family 25, model 1)`; where the system does not say, what Python knows."""
    lines = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    told = dict(re.findall(r"^(model name|vendor_id|cpu family|model)\s*: (.*?)\s*$", lines, re.MULTILINE))
    if len(told) < 4:
        return platform.processor() or platform.machine()
    return "{model name} ({vendor_id}, family {cpu family}, model {model})".format_map(told)
