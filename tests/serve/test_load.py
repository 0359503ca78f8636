"""A thousand requests of clients good and bad: nothing is left behind, and nothing stops the server."""

import numpy as np

from clients import kvlab_serve
from kvlab.serve.wire import pack, unpack
from serve_load import BAD, connected, held, observation, soak


def test_nothing_is_left_behind(untrained):
    with kvlab_serve("--checkpoint", untrained, "--setting", "full when every(2)") as (port, process):
        soak(port, 200)
        before = held(process)
        done = soak(port, 800)
        after = held(process)
        assert done.total() == 800 and {*done} == {"answered", *BAD}
        assert after["files"] <= before["files"] and after["threads"] <= before["threads"]
        assert after["MiB"] - before["MiB"] < 8
        with connected(port) as connection:
            connection.send(pack(observation(32, np.random.default_rng(0))))
            assert unpack(connection.recv())["kvlab"]["began"] == "first"
