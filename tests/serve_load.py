"""Clients good and bad, many at once, and what a server holds and takes meanwhile."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
from websockets.sync.client import ClientConnection, connect

from kvlab.serve.wire import pack, unpack

PROMPT = "pick up the black bowl between the plate and the ramekin and place it on the plate"
CONNECTIONS = 8
BAD = ("vanishes", "garbage", "half a frame", "another shape", "lacks a key")
SHARE = 0.2  # of requests that are bad


def observation(side: int, rng: np.random.Generator) -> dict:
    """As openpi's client sends it, with frames of `side` pixels."""
    frames = {f"observation/{key}": rng.integers(0, 255, (side, side, 3), np.uint8) for key in ("image", "wrist_image")}
    state = np.array([*rng.uniform(0, 1, 3), 3.1, 0.1, 0, 0.02, -0.02])
    return frames | {"observation/state": state, "prompt": PROMPT}


def connected(port: int) -> ClientConnection:
    connection = connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None)
    connection.recv()
    return connection


def overhead(port: int, requests: int, side: int = 224) -> np.ndarray:
    """Of each request, the ms until its answer was there less those that the policy itself took for it."""
    rng, found = np.random.default_rng(0), []
    with connected(port) as connection:
        for n in range(requests):
            asked = observation(side, rng)
            asked["observation/state"][:3] = 0.05 * n, 0.1, 1.2  # as a hand moves within an episode
            started = time.perf_counter()
            connection.send(pack(asked))
            answer = unpack(connection.recv())
            found.append((time.perf_counter() - started) * 1e3 - answer["policy_timing"]["infer_ms"])
    return np.array(found)


def misbehave(connection: ClientConnection, kind: str, rng: np.random.Generator) -> None:
    """After it nothing more can come over this connection."""
    right = observation(32, rng)
    if kind == "half a frame":
        connection.socket.sendall(b"\x82\xfe\x20\x00" + bytes(100))  # 8192 bytes are promised
    elif kind == "vanishes":
        connection.send(pack(right))
    else:
        wrong = {"another shape": right | {"observation/state": np.zeros(7)}, "lacks a key": {"prompt": PROMPT}}
        connection.send(pack(wrong[kind]) if kind in wrong else rng.bytes(500))
        assert isinstance(connection.recv(), str)
    connection.socket.close()


def ask(port: int, requests: int, number: int) -> Counter:
    """One client after another, each as good as it is: what became of its requests."""
    rng, done, connection = np.random.default_rng(number), Counter(), connected(port)
    for _ in range(requests):
        if rng.random() < SHARE:
            kind = BAD[rng.integers(len(BAD))]
            misbehave(connection, kind, rng)
            connection = connected(port)
        else:
            kind = "answered"
            connection.send(pack(observation(32, rng)))
            assert np.isfinite(unpack(connection.recv())["actions"]).all()
        done[kind] += 1
    connection.close()
    return done


def soak(port: int, requests: int) -> Counter:
    """That many requests over several connections at once."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        each = [pool.submit(ask, port, requests // CONNECTIONS, n) for n in range(CONNECTIONS)]
        return sum((one.result() for one in each), Counter())


def held(process: int) -> dict[str, float]:
    """What a process holds, once it has let go of what is gone."""
    server = psutil.Process(process)
    for _ in range(100):
        if not [one for one in server.net_connections() if one.status == "ESTABLISHED"]:
            break
        time.sleep(0.1)
    return {"MiB": server.memory_info().rss / 2**20, "files": server.num_fds(), "threads": server.num_threads()}
