"""Statistics of small closed-loop evaluations: rates, paired and unpaired differences, pilots, power.

The estimand is success on the tasks that were run. scipy and statsmodels compute; what neither has stands here with
its reference. A degenerate sample (0/n, n/n, no differing pair) gets a defined answer, never NaN or zero width.
"""

from kvlab.evidence.stats.bayes import (
    posterior,
    probability_better,
    probability_drop_below,
)
from kvlab.evidence.stats.bootstrap import bootstrap_rate
from kvlab.evidence.stats.interval import Interval
from kvlab.evidence.stats.one_sample import rate_interval
from kvlab.evidence.stats.paired import (
    Pairs,
    mcnemar_p,
    pair,
    paired_bootstrap,
    paired_difference,
)
from kvlab.evidence.stats.pilot import PilotCheck, PilotRanking, pilot_hypergeometric, pilot_predictive, pilot_ranking
from kvlab.evidence.stats.power import (
    episodes_inside,
    episodes_paired,
    power_inside,
    power_paired,
    power_unpaired,
    smallest_drop_paired,
    smallest_drop_unpaired,
)
from kvlab.evidence.stats.unpaired import holm, independent_difference, unpaired_difference, unpaired_p

__all__ = [
    "Interval",
    "Pairs",
    "PilotCheck",
    "PilotRanking",
    "bootstrap_rate",
    "episodes_inside",
    "episodes_paired",
    "holm",
    "independent_difference",
    "mcnemar_p",
    "pair",
    "paired_bootstrap",
    "paired_difference",
    "pilot_hypergeometric",
    "pilot_predictive",
    "pilot_ranking",
    "posterior",
    "power_inside",
    "power_paired",
    "power_unpaired",
    "probability_better",
    "probability_drop_below",
    "rate_interval",
    "smallest_drop_paired",
    "smallest_drop_unpaired",
    "unpaired_difference",
    "unpaired_p",
]
