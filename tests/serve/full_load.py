"""`make serve-load`: ten thousand requests of clients good and bad, and what the server adds to an inference.

Not among what `make test` runs, which has a thousand requests and no times: other work on a machine lengthens them.
"""

import numpy as np

from clients import kvlab_serve
from kvlab.paths import DATA
from serve_load import held, overhead, soak

ROUNDS = 5


def test_ten_thousand_requests(untrained):
    with kvlab_serve("--checkpoint", untrained, "--setting", "full when every(2)") as (port, process):
        found = [(soak(port, 10_000 // ROUNDS), held(process)) for _ in range(ROUNDS)]
    for done, holds in found:
        print(f"\n{dict(done)}\n  then {holds}", end="")
    (_, first), *_, (_, last) = found
    assert sum(done.total() for done, _ in found) == 10_000
    assert last["MiB"] - first["MiB"] < 8 and last["files"] <= first["files"] and last["threads"] <= first["threads"]


def test_what_the_server_adds():
    served = ("--checkpoint", DATA / "checkpoints" / "mini_spatial", "--setting", "none")
    with kvlab_serve(*served) as (port, _):
        for _ in range(ROUNDS):
            found = overhead(port, 60)
            middle, most = np.quantile(found, (0.5, 0.95))
            print(f"\nadded: median {middle:.2f} ms, 95th percentile {most:.2f} ms", end="")
            assert 0 < middle < 10
