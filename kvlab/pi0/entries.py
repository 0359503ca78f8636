"""What published JSON files may say: entries of the right type, and an error that names each one that is not."""

import reprlib
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from kvlab.pi0.policy import Conventions

# In the words of JSON. Whole numbers are sizes.
SHOULD = {"bool_type": "true or false"} | dict.fromkeys(("int_type", "greater_than"), "a whole number above 0")


@dataclass(frozen=True)
class Told:
    """What a published folder says, in the words of this project."""

    variants: tuple[str | None, str | None]  # of the prefix and the expert, as published; None where it does not say
    sizes: dict[str, object]  # other fields of `Pi0Config`; None where it does not say
    stats: dict[str, np.ndarray]  # `checkpoint.STAT_NAMES`, float64: any normalisation is a centre and a scale
    conventions: Conventions
    facts: dict[str, object]


class Entries(BaseModel):
    """An object of a JSON file. Types are strict: neither "false" nor 0 is false."""

    model_config = ConfigDict(strict=True, frozen=True)

    @classmethod
    def read(cls, data: object, where: object) -> Self:
        """`data` with every entry checked. ValueError that says of each wrong one what it should be; `where` leads."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            told = "; ".join(_sentence(one) for one in error.errors())
            raise ValueError(f"{where}: {told}") from error


def _sentence(error: dict) -> str:
    name = ".".join(map(str, error["loc"])) or "the whole"
    if error["type"] == "missing":
        return f"the entry {name} is missing"
    if error["type"] == "extra_forbidden":
        return f"{name} is not an entry that is known here"
    told = error["msg"].replace("Input should be", "should be")
    if error["type"] in SHOULD:
        told = f"should be {SHOULD[error['type']]}"
    return f"{name} {told}, got {reprlib.repr(error['input'])}"
