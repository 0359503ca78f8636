"""The drawing says of each mode what the policy that runs it keeps."""

import pytest

from kvlab.book import drawing
from kvlab.book.drawing import COMPUTED, IN_HALF, OLD, PARTS, UNUSED
from kvlab.reuse import parse_mode


@pytest.mark.parametrize(
    ("mode", "shares"),
    {
        "none": [COMPUTED] * 4,
        "full": [OLD, OLD, OLD, COMPUTED],
        "prefix": [OLD, OLD, COMPUTED, COMPUTED],
        "layer_wise:splice": [IN_HALF, IN_HALF, COMPUTED, COMPUTED],
        "chunk": [UNUSED, UNUSED, UNUSED, OLD],
    }.items(),
)
def test_what_a_replan_that_reuses_computes(mode, shares):
    assert [drawing.computed(parse_mode(mode), part) for part in PARTS.values()] == shares


def test_every_replan_of_every_mode_has_its_mark():
    (ax,) = drawing.kept().axes
    written = {text.get_text() for text in ax.texts}
    assert written >= {*drawing.MODES, *PARTS}
    unused = 3 * drawing.REPLANS // 2 + 1  # of the chunk, and in the legend
    squares = len(drawing.MODES) * len(PARTS) * drawing.REPLANS + 4 - unused
    assert (len(ax.patches), len(ax.lines)) == (2 * squares, unused)
