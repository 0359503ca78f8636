"""The server: connections, each with a cache of its own, before one model that answers them in the order they ask."""

import asyncio
import hmac
import ipaddress
import itertools
import logging
import os
import time
import traceback
from base64 import b64decode
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, nullcontext
from http import HTTPStatus
from pathlib import Path

import numpy as np
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from kvlab.serve.log import Log
from kvlab.serve.openpi import Openpi
from kvlab.serve.served import Served
from kvlab.serve.vla_eval import VlaEval

PROTOCOLS = {"openpi": Openpi, "vla-eval": VlaEval}
FRAME = 2**26  # bytes at most
PING = 20  # s, so that a client that has vanished is noticed; one that simulates may answer late
HEALTH = {"/healthz": "OK\n", "/health": '{"status": "ok"}\n'}  # openpi's and the harness'
REASON = 123  # bytes of a reason to close
INTERNAL_ERROR = 1011

logger = logging.getLogger(__name__)


@asynccontextmanager
async def running(
    served: Served,
    protocol: str = "openpi",
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    log: Path | None = None,
) -> AsyncIterator[int]:
    """Serves inside, on the port that it gives (`port` 0: any that is free). `log` is a folder.

    Who has an `api_key` asks for it, as openpi's client sends it (`Authorization: Api-Key KEY`) or as the password of
    an address (`ws://kvlab:KEY@host:8000`). Raises ValueError for an unknown protocol, and for a host that others can
    reach without a key, and OSError where it cannot listen there.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"the protocol is one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if not api_key and not _is_local(host):
        raise ValueError(f"others can reach {host}: give an API key, or serve on 127.0.0.1")
    talk = PROTOCOLS[protocol]
    talk(served, note=None)  # says at once whether it can
    with ThreadPoolExecutor(1, "policy") as worker, closing(Log(log)) if log else nullcontext() as book:
        worker.submit(warm_up, served).result()
        numbers = itertools.count()

        async def handle(connection: ServerConnection) -> None:
            number = next(numbers)

            def note(answer, prompt):
                if book:
                    book.add(number, prompt, answer)

            await _converse(connection, talk(served, note), worker)

        options = {"compression": None, "max_size": FRAME, "max_queue": 1, "origins": [None]}
        pings = {"ping_interval": PING, "ping_timeout": None}
        guard = _guard(api_key)
        try:
            server = await serve(handle, host, port, process_request=guard, logger=_quiet(), **options, **pings)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(f"cannot listen on {host}:{port}: {why}; --port takes another") from error
        async with server:
            yield server.sockets[0].getsockname()[1]


async def _converse(connection: ServerConnection, talk: Openpi | VlaEval, worker: ThreadPoolExecutor) -> None:
    """Answer a connection until it ends. One request of each is with the worker at a time, so none is kept waiting by
    another's many.
    """
    loop = asyncio.get_running_loop()
    try:
        if greeting := talk.greeting():
            await connection.send(greeting)
        async for frame in connection:
            try:
                reply = await loop.run_in_executor(worker, talk.reply, frame, time.perf_counter())
            except Exception as error:
                if not isinstance(error, ValueError):
                    logger.error(traceback.format_exc())
                    error = RuntimeError(f"the server failed with {type(error).__name__}: {error}")
                await connection.send(talk.refusal(error))
                if not talk.goes_on:
                    await connection.close(INTERNAL_ERROR, str(error).encode()[:REASON].decode(errors="ignore"))
                    return
            else:
                if reply is not None:
                    await connection.send(reply)
    except ConnectionClosed:
        pass  # a client that is gone takes its cache along


def warm_up(served: Served) -> None:
    """One computed and one further replan, so that no client waits for what is set up at the first."""
    side = served.policy.config.image_size
    frames = {camera: np.zeros((side, side, 3), np.uint8) for camera in served.policy.config.cameras}
    state = np.zeros(served.policy.state_dim, np.float32)
    policy = served.cached()
    policy.reset("pick up the bowl", (0,))
    for _ in range(2):
        policy.act(frames, state)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guard(api_key: str | None):
    """What is asked before the handshake: how the server is, and the key."""

    def guard(connection: ServerConnection, request: Request) -> Response | None:
        if answer := HEALTH.get(request.path):
            return connection.respond(HTTPStatus.OK, answer)
        told = _key(request.headers.get("Authorization", ""))
        if api_key and not hmac.compare_digest(told, api_key.encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "the API key is missing or another one\n")
        return None

    return guard


def _key(authorization: str) -> bytes:
    scheme, _, rest = authorization.partition(" ")
    try:
        return b64decode(rest).partition(b":")[2] if scheme == "Basic" else rest.encode()
    except ValueError:
        return b""


def _quiet() -> logging.Logger:
    """Of the library, which has a traceback for every client that vanishes."""
    library = logging.getLogger("kvlab.serve.websockets")
    library.setLevel(logging.CRITICAL + 1)
    return library
