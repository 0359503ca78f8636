"""The rooms of the library and the way between them: imports run one way, from the book down to the policy."""

import ast
from pathlib import Path

import pytest

import kvlab

PACKAGE = Path(kvlab.__file__).parent
BELOW = {  # what a room may know, itself apart
    "pi0": {"numerics"},
    "reuse": {"pi0"},
    "sim": {"numerics"},
    "study": {"reuse", "sim", "pi0", "numerics", "paths"},
    "serve": {"study", "reuse", "pi0"},
    "evidence": {"study", "reuse", "sim", "pi0", "paths"},
    "bench": {"evidence", "study", "reuse", "sim", "pi0", "numerics", "paths"},
    "audit": {"book", "evidence", "serve", "study", "reuse", "pi0", "paths"},
    "book": {"evidence", "bench", "study", "reuse", "sim", "pi0", "paths"},
}


def imported(module: Path) -> set[str]:
    """The rooms, or modules beside them, that a module imports from, wherever in it that stands."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("kvlab.")}


def test_every_folder_is_a_room_and_every_room_a_folder():
    assert {path.parent.name for path in PACKAGE.glob("*/*.py")} == BELOW.keys()


@pytest.mark.parametrize("room", BELOW)
def test_a_room_knows_only_what_lies_below_it(room):
    for module in (PACKAGE / room).rglob("*.py"):
        assert imported(module) <= BELOW[room] | {room}, module
