"""In which order to buy: the times in it are computed."""

import pandas as pd

from kvlab.book.answers import order


def test_the_times_are_those_of_the_rows():
    ways = pd.DataFrame({"ms": [20.0, 100.0]}, ["engine", "eager"])
    said = order.line(ways, 5)
    assert said.startswith("**In this order:** nothing, where no reuse fits your budget; a faster program, which puts")
    assert "takes 20 ms a replan by the [engine](engine.ipynb), not 100 ms" in said
    assert said.endswith(": 8 % of its 5 control steps, without reuse.")
    assert "4 % of its 10 control steps" in order.line(ways, 10)


def test_what_is_recorded_has_both_programs():
    ms = order.ways()["ms"]
    assert 0 < ms["engine"] < ms["eager"]
