"""Statistics of small closed-loop evaluations: rates, paired and unpaired differences, pilots, power.

The estimand is success on the tasks that were run. scipy and statsmodels compute; what neither has stands here with
its reference. A degenerate sample (0/n, n/n, no differing pair) gets a defined answer, never NaN or zero width.
"""

from kvlab.lab.stats.bayes import (
    paired_probability_better,
    paired_probability_drop_below,
    posterior,
    probability_better,
    probability_drop_below,
)
from kvlab.lab.stats.bootstrap import bootstrap_rate
from kvlab.lab.stats.interval import Interval
from kvlab.lab.stats.one_sample import rate_interval
from kvlab.lab.stats.paired import (
    NonInferiority,
    Pairs,
    mcnemar_p,
    pair,
    paired_bootstrap,
    paired_difference,
    paired_noninferiority,
)
from kvlab.lab.stats.pilot import PilotCheck, PilotRanking, pilot_hypergeometric, pilot_predictive, pilot_ranking
from kvlab.lab.stats.power import (
    episodes_paired,
    power_paired,
    power_unpaired,
    smallest_drop_paired,
    smallest_drop_unpaired,
)
from kvlab.lab.stats.unpaired import holm, unpaired_difference, unpaired_p

__all__ = [
    "Interval",
    "NonInferiority",
    "Pairs",
    "PilotCheck",
    "PilotRanking",
    "bootstrap_rate",
    "episodes_paired",
    "holm",
    "mcnemar_p",
    "pair",
    "paired_bootstrap",
    "paired_difference",
    "paired_noninferiority",
    "paired_probability_better",
    "paired_probability_drop_below",
    "pilot_hypergeometric",
    "pilot_predictive",
    "pilot_ranking",
    "posterior",
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
