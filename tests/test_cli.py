"""The program `kvlab`: a user's mistake ends in one sentence and a non-zero status."""

import subprocess
import sys
from pathlib import Path

import pytest


def kvlab(*arguments) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("kvlab"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("demos", "libero_kitchen"), ("libero_kitchen", "libero_spatial")),
    ],
)
def test_a_mistake_is_one_sentence(arguments, says, tmp_path):
    ran = kvlab(*arguments, "--out", tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("kvlab: ") and ran.stderr.count("\n") == 1
    assert all(word in ran.stderr for word in says)


def test_help_names_every_command():
    ran = kvlab("--help")
    assert ran.returncode == 0
    assert all(command in ran.stdout for command in ("doctor", "demos"))
