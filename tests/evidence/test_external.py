"""The statistics on outcomes that others publish: 800 paired episodes of OpenVLA-OFT in four settings.

Counts from the raw logs of github.com/jzzzzzzzzzzzzzzzz/vla-cache, src/openvla-oft/experiments/results/paper_bf16
(LIBERO, four suites of 10 tasks x 20 trials in one order; Apache-2.0): successes, and the pairs that differ.
"""

import pytest

from kvlab.evidence import margins
from kvlab.evidence.stats import Pairs, mcnemar_p, paired_difference

# what: (successes without reuse, lost, gained, episodes), successes, p as stated there
PUBLISHED = {
    "VLA-Cache": ((766, 16, 18, 800), 768, 0.86),
    "with pruning": ((766, 37, 24, 800), 753, 0.12),
    "with layers 3 to 6 skipped": ((766, 78, 16, 800), 704, 6e-11),
    "with pruning, libero_10": ((186, 27, 9, 200), 168, 0.004),
    "full stack, libero_spatial": ((189, 23, 2, 200), 168, 2e-5),
    "with layers 3 and 4 skipped, libero_spatial": ((189, 4, 3, 200), 188, 1.0),
}


def pairs(without: int, lost: int, gained: int, episodes: int) -> Pairs:
    return Pairs(without - lost, gained, lost, episodes - without - gained)


@pytest.mark.parametrize("what", PUBLISHED)
def test_published_counts_and_p_come_out(what):
    counts, successes, p = PUBLISHED[what]
    found = pairs(*counts)
    assert found.both + found.setting_only == successes and found.n == counts[3]
    assert float(f"{mcnemar_p(found):.{2 if p >= 0.1 else 1}g}") == pytest.approx(p, rel=0.05)


def test_vla_cache_itself_loses_less_than_five_points():
    difference = paired_difference(pairs(*PUBLISHED["VLA-Cache"][0]))
    assert 100 * difference.estimate == pytest.approx(0.25)
    assert 100 * difference.width / 2 == pytest.approx(1.4, abs=0.1)  # "95 % about +-1.4"
    assert margins.loss(difference, margins.BUY) == margins.INSIDE


def test_skipping_layers_three_to_six_loses_more_than_five():
    difference = paired_difference(pairs(*PUBLISHED["with layers 3 to 6 skipped"][0]))
    assert margins.loss(difference, margins.BUY) == margins.OUTSIDE
