"""What is said of one episode and of all beside it follows from the rows."""

from kvlab.book.answers import look
from kvlab.study.records import Records
from kvlab.study.settings import Setting
from made import made

NONE, FULL = Setting("none"), Setting("full", "every(2)")


def records(solved: list[bool]) -> Records:
    """No reuse solves every episode, `full` these."""
    rows = {NONE: [(True, 15, [False] * 3)] * len(solved), FULL: [(one, 15, [False, True, False]) for one in solved]}
    return made(rows)


def first(rows: Records, setting: Setting) -> Records:
    mine = [one[(one["mode"] == setting.mode)] for one in (rows.episodes, rows.replans)]
    return Records(mine[0].iloc[:1], mine[1])


def said(solved: list[bool]) -> list[str]:
    rows = records(solved)
    return look.findings((NONE, FULL), [first(rows, NONE), first(rows, FULL)], rows)


def test_the_episode_and_those_that_end_like_it_are_told():
    one, typical = said([False, True, False])
    assert one.startswith("**Solved by `none`.** `none`: solved after 15 control steps, no replan of 3 reused.")
    assert "`full when every(2)`: not solved in 15 control steps, 1 replan of 3 reused." in one
    assert typical == "**2 of 3 episodes end like this one.**"


def test_other_rows_say_other_sentences():
    one, typical = said([True])
    assert (
        one.startswith("**Solved by `none` and `full when every(2)`.**")
        and "1 of 1 episode ends like this one" in typical
    )


def test_an_episode_that_nothing_solves_is_solved_by_no_setting():
    rows = made({NONE: [(False, 15, [False] * 3)], FULL: [(False, 15, [False, True, False])]})
    assert look.findings((NONE, FULL), [first(rows, NONE), first(rows, FULL)], rows)[0].startswith(
        "**Solved by no setting.**"
    )


def test_the_table_counts_all_endings_the_most_frequent_first():
    table = look.table((NONE, FULL), records([False, True, False]))
    assert table.index.to_list() == [2, 1] and table["full"].to_list() == ["not solved", "solved"]
