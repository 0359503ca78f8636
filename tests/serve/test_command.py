"""`kvlab serve`: what a user got wrong is one sentence, before anything is served."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--checkpoint", "nowhere"), "there is no folder nowhere"),
        (("--setting", "full"), "the setting 'full' has no gate: write for example `full when vision >= 0.98`"),
        (("--host", "0.0.0.0"), "others can reach 0.0.0.0: give an API key, or serve on 127.0.0.1"),
        (("--protocol", "http"), "the protocol is one of openpi, vla-eval, got 'http'"),
        (("--numerics", "exact"), "numerics must be one of portable, native, got 'exact'"),
        (("--device", "cuda"), "torch finds no CUDA GPU on this machine"),
    ],
)
def test_a_mistake_is_one_sentence(untrained, arguments, says):
    options = {"--checkpoint": untrained, "--port": "0"} | {arguments[0]: arguments[1]}
    command = [Path(sys.executable).with_name("kvlab"), "serve", *(str(x) for pair in options.items() for x in pair)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1 and says in ran.stderr
    assert ran.stderr.startswith("kvlab: ") and ran.stderr.count("\n") == 1
