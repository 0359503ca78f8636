"""What the start page says of made rows, and what is promised of it as it is published."""

import re
from collections import Counter
from dataclasses import replace

import nbformat
import pandas as pd
import pytest

from kvlab.book.answers import intro, recommended
from kvlab.book.answers.second_seed import SecondSeed
from kvlab.book.contents import chapters
from kvlab.evidence import frontier, margins
from kvlab.paths import BOOK, CHECKPOINTS
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study
from made import TIMES, made

NO_REUSE, FEWER, CHUNK = Setting("none"), Setting("none", denoising_steps=2), Setting("chunk", "every(2)")
LONGER = Setting("none", execute="10")
MACHINES = {"cpu": TIMES}
MOST_WORDS = 700


def records(chunk: int, without: int = 100, fewer: int = 100):
    """Of 100 episodes two denoising steps solve the first `fewer`, no reuse `without`, and the old chunk `chunk`."""
    won = {NO_REUSE: without, FEWER: fewer, CHUNK: chunk}
    return made({s: [(n < k, 15, [False, s == CHUNK] * 2) for n in range(100)] for s, k in won.items()})


def within(suites) -> pd.DataFrame:
    return frontier.within_margin(suites, [NO_REUSE, FEWER, CHUNK], NO_REUSE, MACHINES)


def said(**suites):
    bought = within(suites)
    return intro.findings(bought, suites, MACHINES, SecondSeed(())), bought


def test_the_recommendation_comes_first_and_what_is_not_recorded_is_left_out():
    (taken, chunk), bought = said(short=records(99), long=records(80))
    assert taken.startswith(
        "**Try 2 denoising steps first: 55 % (cpu) of the inference.** Of the settings listed here it is the cheapest "
        "that is shown to lose under 5 points, if any, in every suite. No second seed is"
    )
    assert chunk == (
        "**Going on in the old chunk every second replan loses over 5 points in `long`.** `short` -1 (-5.4 to 3); "
        "`long` -20 (-29 to -13)."
    )
    assert {NO_REUSE, FEWER, CHUNK} <= {*intro.named(bought, SecondSeed(()))}


def seeds(tmp_path, make_row, won: dict[Setting, int]) -> SecondSeed:
    """A second seed in `libero_spatial`, in which a setting solves so many of 100 episodes."""
    first = Study(CHECKPOINTS["libero_spatial"], (NO_REUSE,), 100, Protocol(), folder=tmp_path)
    again = replace(first, settings=tuple(won), seed=1)
    for setting in again.settings:
        for n, trial in enumerate(again.trials()):
            again.recording(setting).add(make_row(*trial, seed=1) | {"success": n < won[setting]})
    return SecondSeed((first,))


def test_both_seeds_stand_side_by_side(tmp_path, make_row):
    suites, second = {"libero_spatial": records(99)}, seeds(tmp_path, make_row, {NO_REUSE: 100, FEWER: 97})
    taken, _ = intro.findings(within(suites), suites, MACHINES, second)
    assert taken.startswith("**Try 2 denoising steps first: ") and "A second seed does not confirm it" in taken
    assert "by the second seed, which chose none: -3 (-8 to 1) in `libero_spatial`, 100 episodes." in taken


def test_what_a_second_seed_confirms_is_taken_before_a_cheaper_setting(tmp_path, make_row):
    one = Setting("none", denoising_steps=1)
    rows = made({s: [(True, 15, [False] * 4)] * 100 for s in (NO_REUSE, FEWER, one)})
    suites, second = {"libero_spatial": rows}, seeds(tmp_path, make_row, {NO_REUSE: 100, FEWER: 100, one: 96})
    bought = frontier.within_margin(suites, [NO_REUSE, FEWER, one], NO_REUSE, MACHINES)
    (taken,) = intro.findings(bought, suites, MACHINES, second)
    assert taken == (
        "**Take 2 denoising steps: 55 % (cpu) of the inference.** Of the settings listed here it is the cheapest that "
        "both seeds show to lose under 5 points, if any. Points by the second seed, which chose none: 0 (-4 to 4) in "
        "`libero_spatial`, 100 episodes. No further training ran it ([Across policies](across_policies.ipynb)). A "
        "cheaper candidate is 1 denoising step: by a second seed in `libero_spatial` a loss of 5 points "
        "is open."
    )
    assert [*intro.named(bought, second)][:3] == [NO_REUSE, FEWER, one]


def test_without_a_lever_that_is_shown_to_keep_success_none_is_recommended():
    suites = {"short": records(60, fewer=60)}
    nothing, chunk = intro.findings(within(suites), suites, MACHINES, SecondSeed(()))
    assert nothing == recommended.nothing(suites, margins.BUY)
    assert nothing.startswith("**No lever is shown to be worth it.** None that is listed here and saves inference")
    assert chunk.startswith("**Going on in the old chunk every second replan loses over 5 points.**")


@pytest.mark.parametrize(
    ("solved", "lead"),
    [
        (100, " loses under 5 points, if any"),
        (97, ": whether it loses over 5 points is open"),
        (94, " loses success; whether over 5 points is open"),
        (60, " loses over 5 points"),
    ],
)
def test_the_lead_follows_from_the_rows(solved, lead):
    _, chunk = said(short=records(solved))[0]
    assert chunk.startswith(f"**Going on in the old chunk every second replan{lead}.** ")


@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_clock_loses_stands_beside_what_an_image_gate_does(recorded):
    """The gate reuses at 3 of 4 replans and loses 10 of 100, the clock at half of them and loses 30."""
    clock, gate = map(parse_setting, *intro.BEHIND.items())
    won = {NO_REUSE: (100, 0), FEWER: (100, 0), clock: (70, 2)} | ({gate: (90, 3)} if recorded else {})
    rows = made({s: [(n < k, 15, [0 < r <= m for r in range(4)]) for n in range(100)] for s, (k, m) in won.items()})
    bought = frontier.within_margin({"short": rows}, [*won], NO_REUSE, MACHINES)
    claim = intro.findings(bought, {"short": rows}, MACHINES, SecondSeed(()))[-1]
    assert claim.startswith("**Keeping images and instruction alone every second replan loses over 5 points.** ")
    assert claim.endswith(" Behind images ≥ 0.945: `short` -10 (-17 to -6) at 75 % of replans." * recorded or "-22).")


def test_what_points_are_of_is_said_once_where_the_suites_are_alike():
    few = made({NO_REUSE: [(True, 15, [False] * 4)]})
    assert intro.compared({"short": records(99)}).endswith("on the same 100 episodes of `short`, with 95 % intervals.")
    assert intro.compared({"short": records(99), "long": records(80)}).endswith(
        "the same 100 episodes of each suite, with 95 % intervals."
    )
    assert intro.compared({"short": records(99), "long": few}).endswith(
        "of `short` and 1 episode of `long`, with 95 % intervals."
    )


def test_the_table_has_the_settings_with_a_letter():
    """Beaten, not named and not shown to lose little, a setting is pale and has no row."""
    won = {NO_REUSE: 80, FEWER: 60, CHUNK: 50, LONGER: 40}
    rows = made({s: [(n < k, 15, [False, s == CHUNK] * 2) for n in range(100)] for s, k in won.items()})
    bought = frontier.within_margin({"short": rows}, [*won], NO_REUSE, MACHINES)
    places = {"short": frontier.frontier(rows, [*won], TIMES)}
    assert places["short"].pareto[FEWER] and FEWER not in intro.named(bought, SecondSeed(()))
    assert {*intro.lettered(bought, places, SecondSeed(())).index} == {NO_REUSE, FEWER, CHUNK}


def published() -> list[str]:
    """What a reader of the start page sees as text, cell by cell: no code, address, alternative text or picture."""
    shown = []
    for cell in nbformat.read(BOOK / "intro.ipynb", as_version=4).cells:
        if cell.cell_type == "markdown":
            shown.append(cell.source)
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            kinds = [kind for kind in ("text/markdown", "text/html") if kind in data]
            assert kinds or "image/svg+xml" in data, cell.source
            shown += [data[kind] for kind in kinds]
    return shown


def words(shown: str) -> list[str]:
    """Words and numbers of Markdown or HTML."""
    seen = re.sub(r"<style.*?</style>|!\[[^\]]*\]\([^)]*\)|\]\([^)]*\)|<[^>]*>", " ", shown, flags=re.DOTALL)
    return [word for word in seen.split() if re.search("[A-Za-z0-9]", word)]


def test_words_are_what_is_read():
    assert len(words("![a picture](x.jpg)\n\n- **Two** [words](a.ipynb) · <b class='no'>-6: three</b> ≥")) == 4


def test_the_start_page_is_short():
    assert sum(len(words(shown)) for shown in published()) < MOST_WORDS


def test_the_first_finding_has_at_most_five_sentences():
    """It says what to take, and that a second seed confirms it or does not."""
    first = next(shown for shown in published() if shown.startswith("1. **")).splitlines()[0].removeprefix("1. ")
    assert (
        re.match(r"\*\*(Take .* both seeds|Try .* first)", first) and len(re.findall(r"[.:]\*\* |\. |\.$", first)) <= 5
    )


def test_the_start_page_says_how_its_policies_were_trained():
    assert re.fullmatch(r"\d+ of \d+ policies were trained beyond the lowest held-out loss", intro.trained())


def test_each_chapter_has_one_door():
    doors = next(shown for shown in published() if "## Where to go on" in shown).split("## Where to go on")[1]
    linked = Counter(re.findall(r"\]\((\w+)\.ipynb\)", doors))
    assert linked == Counter(source.stem for source in chapters()[1:])
