"""The figure of *Across policies*: a panel for each finding, and in it a row for each policy.

`counts` are the findings in the policies that have learned (`stated.counted`).
"""

from textwrap import fill

from kvlab.book.answers.further import over_policies
from kvlab.book.answers.stated import LEARNED, Finding, Judged, Policies, claims, only, tested
from kvlab.evidence.policies import Pooled
from kvlab.evidence.stats import Interval

PANEL = 26  # letters of a panel's title in one line
NEAR = "\N{NO-BREAK SPACE}≥\N{NO-BREAK SPACE}"  # what a limit belongs to stands in its line
UNJUDGED = "unjudged"  # the look of a row that counts in no verdict


def drawn(everywhere: Judged, counts: Judged, policies: Policies) -> list[Finding]:
    """The findings that have a panel in the figure: those that are tested; without any, the claims, or else all."""
    return [*tested(counts, policies)] or [*claims(counts, policies)] or [*everywhere]


def rows(
    finding: Finding, everywhere: Judged, counts: Judged, policies: Policies, confidence: float
) -> tuple[list[str], list[Interval | None], list[str], dict[int, Pooled]]:
    """One panel of the figure: labels, intervals and looks of the policies, and by row the means over them.

    `everywhere` has the findings in all policies; one that ran none has no row. A label is the policy's name without
    `mini_`, with a * where it does not count. A policy in which the finding is not judged is grey. The last rows are
    for the means of those suites in which any finding has one.
    """
    made = {one: over_policies(judged, policies, confidence) for one, judged in claims(counts, policies).items()}
    judged = claims(counts, policies).get(finding, {})
    suites = [suite for suite in policies.first if any(suite in over for over in made.values())]
    found, ran = everywhere[finding], _ran(everywhere, counts, policies)
    means = {len(ran) + n: made.get(finding, {}).get(suite) for n, suite in enumerate(suites)}
    labels = [_label(policy, policies) for policy in ran]
    return (
        labels + [f"{_name(policies.first[suite])}: mean" for suite in suites],
        [found[policy].effect if policy in found else None for policy in ran] + [None] * len(suites),
        [policies.suites[policy] if policy in judged else UNJUDGED for policy in ran] + suites,
        {row: over for row, over in means.items() if over},
    )


def wrapped(finding: Finding, counts: Judged, policies: Policies) -> str:
    """The title of its panel."""
    where = only(claims(counts, policies).get(finding, {}), policies).replace("`", "")
    of, claim = (fill(words.replace(" ≥ ", NEAR), PANEL) for words in (finding.of, finding.claim + where))
    return f"{of}\n{claim}"


def below(everywhere: Judged, counts: Judged, policies: Policies, confidence: float) -> str:
    """What stands below the figure: the unit, and how to read its rows, as far as there are such."""
    made, shown = claims(counts, policies), drawn(everywhere, counts, policies)
    notes = {
        "an empty row is not recorded": any(
            len(everywhere[one]) < len(_ran(everywhere, counts, policies)) for one in shown
        ),
        "a grey one is not judged": any(everywhere[one].keys() - made.get(one, {}).keys() for one in shown),
        "\nmean: thick; a further policy: thin, and may leave its panel": any(
            over_policies(made.get(one, {}), policies, confidence) for one in shown
        ),
        "\n* not shown to have learned, counts in no finding": {*policies.states.values()} != {LEARNED},
    }
    said = "; ".join(note for note, is_so in notes.items() if is_so).replace("; \n", "\n")
    return f"points, compared with no reuse or what is named\n{said}".replace("\n\n", "\n").strip()


def _ran(everywhere: Judged, counts: Judged, policies: Policies) -> list[str]:
    """The policies that have a row: any finding that is drawn is recorded of them."""
    shown = drawn(everywhere, counts, policies)
    return [policy for policy in policies.states if any(policy in everywhere[one] for one in shown)]


def _label(policy: str, policies: Policies) -> str:
    first = " (first)" if policy in policies.first.values() else ""
    return f"{_name(policy)}{first}{'*' * (policies.states[policy] != LEARNED)}"


def _name(policy: str) -> str:
    """As it stands in the figure, where an underscore would run into the row below."""
    return policy.removeprefix("mini_").replace("_", " ")
