"""A server in a thread of the test's own process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from kvlab.serve import Served, running
from kvlab.study.settings import parse_setting


@contextmanager
def _serving(served: Served, protocol: str = "openpi", **options):
    loop, ready, end, found = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), []

    async def run():
        async with running(served, protocol, port=0, **options) as port:
            found.append(port)
            ready.set()
            await end.wait()

    def work():
        try:
            loop.run_until_complete(run())
        except Exception as error:
            found.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        if isinstance(found[0], Exception):
            raise found[0]
        yield found[0]
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(end.set)
        thread.join()


@pytest.fixture(scope="session")
def serving() -> Callable:
    """`with serving(served, protocol, **options of running) as port`."""
    return _serving


@pytest.fixture(scope="session")
def serve_setting(untrained) -> Callable[..., Served]:
    """`serve_setting("full when every(3)")`: the untrained checkpoint in a setting."""
    return lambda setting, **options: Served.load(untrained, parse_setting(setting), **options)
