"""The program `kvlab`: a user's mistake ends in one sentence and a non-zero status."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kvlab.cli import app
from kvlab.lab.paths import ROOT


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


def test_every_command_is_in_the_help_and_in_the_readme():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    ran = kvlab("--help")
    assert ran.returncode == 0
    assert commands <= set(re.findall(r"^\W*(\w+)", ran.stdout, re.MULTILINE))
    assert commands <= set(re.findall(r"^\| `kvlab (\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
