"""What the cells of chapters call to check their parameters.

Apart from `kvlab.book.execution`, which executes chapters, since what that imports takes seconds in every kernel.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, get_origin

import yaml
from pydantic import Field, TypeAdapter, ValidationError

# What a parameter of this name may be, in every chapter; said before an episode is run.
LIMITS = {
    "budget_ms": Field(gt=0),
    "confidence": Field(gt=0, lt=1),
    "episodes": Field(ge=1, le=500),
    "margin": Field(gt=0, lt=1),
    "rate": Field(gt=0, le=1),
    "seed": Field(ge=0),
    "share": Field(gt=0, lt=1),
    "tolerance": Field(gt=0, lt=1),
    "workers": Field(ge=1),
}


class ParameterError(ValueError):
    """A notebook parameter that does not exist or has the wrong type; shown in a notebook as its one sentence."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this name
        return [f"{type(self).__name__}: {self}"]


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """What the library refuses inside, since a parameter is wrong, is shown as its one sentence: a ParameterError."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise ParameterError(str(error)) from None


def check_parameters(namespace: dict) -> tuple[str, ...]:
    """Checks a notebook's parameters: `check_parameters(globals())` in the cell after the one tagged `parameters`.

    The parameters are the annotated names, `episodes: int = 3`. A text given for something else is read as YAML and put
    into `namespace`, since `papermill -p thresholds "[0.985]"` passes a text. A list holds something, and numbers are
    within LIMITS.

    Returns:
        the names that papermill set, none in JupyterLab: a chapter saves its figures only then.

    Raises:
        ParameterError: an unknown name, a wrong type or a value out of range; says what there is.
    """
    declared = namespace.get("__annotations__", {})
    given = _injected(namespace.get("In", []))
    known = ", ".join(f"{name} ({_name(kind)})" for name, kind in declared.items())
    for name in given:
        if name not in declared:
            raise ParameterError(f"unknown parameter {name!r}; this notebook has {known or 'none'}")
    for name, kind in declared.items():
        namespace[name] = _as_declared(name, kind, namespace[name])
    return given


def _injected(cells: list[str]) -> tuple[str, ...]:
    """The names assigned in the cell that papermill put in, which starts with the comment `# Parameters`."""
    for cell in cells:
        if cell.startswith("# Parameters\n"):
            return tuple(node.targets[0].id for node in ast.parse(cell).body if isinstance(node, ast.Assign))
    return ()


def _as_declared(name: str, kind: object, value: object) -> object:
    limits = LIMITS.get(name, Field(min_length=1) if get_origin(kind) is list else Field())
    adapter = TypeAdapter(Annotated[kind, limits])
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
    if isinstance(value, str):
        try:
            read = yaml.safe_load(value)
            return adapter.validate_python(read, strict=True)
        except yaml.YAMLError:
            pass  # the message about the text as given says more
        except ValidationError as error:
            if not isinstance(read, str):
                reason = error.errors()[0]["msg"]
    raise ParameterError(f"parameter {name!r} must be {_name(kind)}, got {value!r} ({type(value).__name__}): {reason}")


def _name(kind: object) -> str:
    return kind.__name__ if type(kind) is type else str(kind)
