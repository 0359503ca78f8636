"""Clients of a policy server as tests use them: openpi's own, in its own environment, and an episode that it drives."""

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from kvlab.serve.wire import pack, unpack
from kvlab.sim.env import LiberoEnv
from kvlab.sim.suites import task

ENVIRONMENT = Path(sys.prefix) / "openpi-client"  # which `make setup` makes
RELAY = Path(__file__).parent / "serve" / "relay.py"


class OpenpiClient:
    """PyPI's `openpi-client`, unchanged, connected to a server on this machine."""

    def __init__(self, port: int):
        python = ENVIRONMENT / "bin" / "python"
        assert python.exists(), f"openpi's client is not in {ENVIRONMENT}: `make setup` fetches it from PyPI"
        command = [python, RELAY, str(port)]
        clean = {"PATH": "/usr/bin:/bin"}  # without a PYTHONPATH to this project
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean)
        self.metadata = self._receive()

    def infer(self, observation: dict) -> dict:
        frame = pack(observation)
        self._process.stdin.write(struct.pack("<I", len(frame)) + frame)
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> dict:
        return unpack(self._process.stdout.read(*struct.unpack("<I", self._process.stdout.read(4))))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def observation(frames: dict, state: np.ndarray, prompt: str, **more) -> dict:
    """As openpi's LIBERO client has it, of what kvlab sees: frames mirrored, since both of its turns are one."""
    names = {"observation/image": frames["agentview"], "observation/wrist_image": frames["wrist"]}
    images = {name: np.ascontiguousarray(frame[:, ::-1]) for name, frame in names.items()}
    return {**images, "observation/state": state.astype(np.float64), "prompt": prompt, **more}


def drive(port: int, index: int, states: list[int], limit: int, execute: int = 5) -> tuple[list[tuple], list[bytes]]:
    """Episodes of a task of libero_spatial by openpi's client, over one connection.

    Of each its success, its control steps and what kvlab told of each answer; and the chunks that another connection is
    given for what was seen in the last one.
    """
    scene, found = task("libero_spatial", index), []
    with closing(LiberoEnv(scene)) as env, closing(OpenpiClient(port)) as client:
        for state in states:
            env.reset(state, 0)
            steps, success, asked, told = 0, False, [], []
            while not success and steps < limit:
                seen = env.observe()
                asked.append(observation(seen.images, seen.state, scene.language, seed=[index, state, 0]))
                answer = client.infer(asked[-1])
                told.append(answer["kvlab"] | {"actions": answer["actions"].tobytes()})
                for action in answer["actions"][:execute]:
                    if not success:
                        success, steps = env.step(np.clip(action, -1.0, 1.0)), steps + 1
            found.append((success, steps, told))
    with closing(OpenpiClient(port)) as other:
        return found, [other.infer(one)["actions"].tobytes() for one in asked]


@contextmanager
def kvlab_serve(*options) -> Iterator[tuple[int, int]]:
    """The program as a user starts it: the port on which it listens, and the process."""
    command = [Path(sys.executable).with_name("kvlab"), "serve", "--port", "0", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(re.search(r"on ws://127.0.0.1:(\d+)", process.stdout.readline())[1]), process.pid
        finally:
            process.terminate()
