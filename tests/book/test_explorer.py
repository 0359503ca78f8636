"""The explorer: what it counts, what it shows in a browser, and what it runs, without a browser."""

import asyncio
import json
import re
import shutil
from types import SimpleNamespace

import nbformat
import pyarrow.parquet as parquet
import pytest

import slow
from kvlab.book import explorer
from kvlab.book.explorer.live import Explorer, came_out
from kvlab.book.explorer.recorded import page, shown, worlds
from kvlab.book.parameters import ParameterError
from kvlab.paths import BOOK, DATA
from kvlab.pi0.checkpoint import checkpoint_digest
from kvlab.sim.suites import STEP_LIMITS
from kvlab.study import study as lab
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study

NONE, FULL, OWN = Setting("none"), Setting("full", "vision >= 0.98"), Setting("full", "vision >= 0.7")
FIRST = "libero_spatial", "none"


def of(places: list[dict], setting: Setting) -> dict:
    (one,) = [place for place in places if place["setting"] == str(setting)]
    return one


@pytest.fixture
def root(untrained, make_row, tmp_path):
    """Six episodes of two settings, rows of native numerics and of real time; a try."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "untrained").symlink_to(untrained)

    def record(folder, setting, episodes, **protocol):
        study = Study(untrained, (setting,), episodes, Protocol(**protocol), folder=tmp_path / folder)
        for task, state in study.trials():
            row = make_row(task, state, reuses=setting.mode == "full") | {"numerics": study.protocol.numerics}
            study.recording(setting).add(row)

    record("runs", NONE, 6)
    record("runs", FULL, 6)
    record("runs", NONE, 4, numerics="native")
    record("runs", FULL, 3, real_time="200ms")
    record("tried", OWN, 2)
    return tmp_path


def test_rows_that_may_not_be_compared_are_kept_apart_and_counted_once(root):
    found = shown(*FIRST, root)["worlds"]
    assert list(found) == ["libero_spatial, portable numerics", "libero_spatial, native numerics"]
    portable, native = found.values()
    assert [(one["setting"], one["n"]) for one in portable] == [("none", 6), (str(FULL), 6)]
    assert [(one["setting"], one["n"]) for one in native] == [("none", 4)]


def test_policies_are_kept_apart_and_named(root, untrained, make_row):
    """By their folders; one that is not there by its digest."""
    other = root / "checkpoints" / "other"
    shutil.copytree(untrained, other)
    told = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(told | {"trained_on": told["trained_on"] | {"seed": 1}}))
    study = Study(other, (NONE,), 2, folder=root / "runs")
    for task, state in study.trials():
        study.recording(NONE).add(make_row(task, state))
    found = worlds(root)
    assert [*found] == [
        "libero_spatial, untrained, portable numerics",
        "libero_spatial, other, portable numerics",
        "libero_spatial, untrained, native numerics",
    ]
    assert [world.checkpoint().name for world in found.values()] == ["untrained", "other", "untrained"]
    assert [len(world.records.episodes) for world in found.values()] == [12, 2, 4]
    assert shown(*FIRST, root)["chosen"]["world"] == [*found][0]
    shutil.rmtree(other)
    assert f"libero_spatial, checkpoint {study.digest}, portable numerics" in worlds(root)


def test_a_place_says_what_the_rows_say(root):
    place = of(shown(*FIRST, root)["worlds"]["libero_spatial, portable numerics"], FULL)
    assert (place["k"], place["n"], place["few"]) == (4, 6, False)  # tasks 0 and 3 fail
    assert (place["low"], place["high"]) == pytest.approx((0.2228, 0.9567), abs=1e-4)  # Clopper-Pearson, by R
    assert place["reuse"] == pytest.approx(1 / 3, abs=1e-4) and place["steps"] == 13
    assert (place["kept"], place["when"], place["family"], place["numbers"]) == (
        *("everything", "images ≥ 0.98", "images ≥ …"),
        [0.98],
    )
    assert 0 < place["h100"] < place["cpu"] and "episodes" not in place


def test_what_readers_tried_is_shown_to_them_alone_as_few_episodes(root):
    (portable, _) = shown(*FIRST, root, live=True)["worlds"].values()
    assert of(portable, OWN)["few"] and of(portable, OWN)["n"] == 2
    assert of(portable, OWN)["episodes"] == [[0, 0, 0, 13], [1, 0, 1, 13]]
    assert not of(portable, FULL)["few"]


def test_an_episode_that_ended_in_an_error_is_none(root, make_row):
    (world, _) = worlds(root).values()
    world.recordings[FULL].add(make_row(1, 0) | {"success": None, "error": "OSError: gone"})
    place = of(shown(*FIRST, root)["worlds"]["libero_spatial, portable numerics"], FULL)
    assert (place["k"], place["n"], place["few"]) == (3, 5, True)


@pytest.mark.parametrize(
    ("suite", "setting", "says"),
    [
        ("spatial", "none", "nothing is recorded of the suite 'spatial'; recorded are libero_spatial"),
        (
            "libero_spatial",
            "full when vision >= 0.5",
            "the setting `full when vision >= 0.5` is not recorded in libero_spatial; recorded are of its mode "
            "`full when vision >= 0.98`",
        ),
        ("libero_spatial", "prefix when always", "recorded are the modes `full` and `none`"),
        ("libero_spatial", "full", "the setting 'full' has no gate"),
    ],
)
def test_an_unknown_suite_or_setting_says_what_there_is(root, suite, setting, says):
    with pytest.raises(ParameterError, match=re.escape(says)):
        shown(suite, setting, root)


def test_nothing_recorded_is_said(tmp_path):
    with pytest.raises(ValueError, match="nothing is recorded in .*`kvlab run --help` says how"):
        shown(*FIRST, tmp_path)


def kernel(monkeypatch, **content: bool) -> None:
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: {"content": content}))
    monkeypatch.setattr(explorer, "get_ipython", lambda: shell)


def test_a_page_in_batch_and_a_widget_with_the_page_beside_it_where_a_person_is(monkeypatch):
    asked = "libero_spatial", "full when vision >= 0.98"
    kernel(monkeypatch, allow_stdin=False)
    in_batch = explorer.show(*asked)
    assert in_batch.data.count("<script") == 1
    kernel(monkeypatch, allow_stdin=True)
    live = explorer.show(*asked)
    bundle, _ = live._repr_mimebundle_()
    assert bundle["text/html"] == in_batch.data and "application/vnd.jupyter.widget-view+json" in bundle


def test_the_page_names_no_other_place(root):
    html = page(shown(*FIRST, root))
    assert not re.search(r"https?:|//[\w.-]+\.\w|\bimport\b|\bsrc=|@import|url\(", html)
    assert html.count("<script") == html.count("</script") == 1


def published() -> str:
    cells = nbformat.read(BOOK / "explore.ipynb", as_version=4).cells
    (html,) = [o.data["text/html"] for c in cells for o in c.get("outputs", []) if "text/html" in o.get("data", {})]
    return html


def test_the_published_page_is_what_is_recorded():
    assert published() == page(shown("libero_spatial", "full when vision >= 0.98"))


def counted(world: str, setting: Setting) -> tuple[int, int]:
    """Successes and episodes, from the files by themselves. A `world` that names no policy is of the suite's only one;
    all rows are in portable numerics.
    """
    suite, *names = world.split(", ")
    of = {checkpoint_digest(DATA / "checkpoints" / name) for name in names}
    found = {}
    for path in (DATA / "runs" / suite).glob("*.parquet"):
        rows = parquet.read_table(path).to_pylist()
        said = json.loads(parquet.read_schema(path).metadata[b"kvlab"])
        mine = said["checkpoint"] in (of or {said["checkpoint"]})
        if mine and Setting(**said["setting"]) == setting and "delays" not in said:
            found |= {(r["task"], r["initial_state"]): r["success"] for r in rows if r["seed"] == 0}
    return sum(found.values()), len(found)


READ = """(() => { const el = document.querySelector('.kvlab-explorer'); const value = (name) => el.querySelector(
    `[name=${name}]`).value; return {world: value('world'), kept: value('kept'), at: value('at'), caption:
    el.querySelector('.caption').textContent, success: el.querySelector('.numbers b').textContent}})()"""
MOVE = "(() => {{ const slider = document.querySelector('.kvlab-explorer [name=at]'); slider.value = {}; \
    slider.dispatchEvent(new Event('input')) }})()"
PRESS = "document.querySelector('.kvlab-explorer circle.chosen').dispatchEvent(new KeyboardEvent('keydown', {key: \
    'ArrowLeft', bubbles: true}))"
SMALLEST = """Math.min(...[...document.querySelectorAll('.kvlab-explorer *')].map(
    (one) => parseFloat(getComputedStyle(one).fontSize)))"""


class TestInTheBrowser:
    @pytest.fixture(autouse=True)
    def opened(self, html, browser):
        browser.open((html / "book" / "explore.html").as_uri(), 390)

    def test_the_slider_moves_from_threshold_to_threshold_and_the_numbers_follow(self, browser):
        texts = []
        for place in range(2):
            browser.evaluate(MOVE.format(place))
            now = browser.evaluate(READ)
            setting = parse_setting(now["caption"].split(": ")[0])
            k, n = counted(now["world"], setting)
            assert now["success"] == f"{k} of {n}" and f"{k} of {n} succeed" in now["caption"]
            texts.append(str(setting))
        assert texts[0] != texts[1] and all(re.fullmatch(r"full when vision >= 0\.\d+", one) for one in texts)

    def test_every_setting_has_its_point_and_the_keyboard_reaches_them(self, browser):
        before = browser.evaluate(READ)
        points = browser.evaluate("[...document.querySelectorAll('circle')].map(one => one.dataset.setting)")
        there = [one for one in shown(*FIRST)["worlds"][before["world"]] if one["cpu"] is not None]
        assert sorted(points) == sorted(one["setting"] for one in there)
        browser.evaluate(PRESS)
        now = browser.evaluate(READ)
        setting = parse_setting(now["caption"].split(": ")[0])
        assert str(setting) == points[points.index(before["caption"].split(": ")[0]) - 1]
        assert browser.evaluate("document.activeElement.dataset.setting") == str(setting)
        assert now["success"] == "{} of {}".format(*counted(now["world"], setting))

    def test_another_suite_is_another_world(self, browser):
        choose = "(() => {{ const one = document.querySelector('[name=world]'); one.value = '{}'; \
            one.dispatchEvent(new Event('change')) }})()"
        other = next(name for name in shown(*FIRST)["worlds"] if name.startswith("libero_10"))
        browser.evaluate(choose.format(other))
        now = browser.evaluate(READ)
        assert now["world"] == other
        setting = parse_setting(now["caption"].split(": ")[0])
        assert now["success"] == "{} of {}".format(*counted(other, setting))

    def test_a_phone_reads_it_without_scrolling_sideways(self, browser):
        assert browser.evaluate(SMALLEST) >= 9
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        wide = "[...document.querySelectorAll('.kvlab-explorer *')].filter(b => b.getBoundingClientRect().right > 390)"
        assert browser.evaluate(f"{wide}.length") == 0

    def test_it_says_how_to_get_the_rest(self, browser):
        assert "make lab" in browser.evaluate("document.querySelector('.kvlab-explorer .hint').textContent")


@pytest.fixture
def live(root, monkeypatch):
    """The widget on `root` without a front end: `ask(do=...)` gives all that it tells until it is idle."""
    widget, told = Explorer(*FIRST, root), []
    widget.send = lambda content, buffers=None: told.append(content | {"buffers": buffers})

    async def ask(stop=None, **content):
        told.clear()
        widget._asked(widget, {"world": "libero_spatial, portable numerics"} | content, None)
        while not told or told[-1]["kind"] != "idle":
            if stop and stop():
                widget._asked(widget, {"do": "stop"}, None)
                stop = None
            await asyncio.sleep(0.02)
        return [*told]

    return SimpleNamespace(widget=widget, ask=lambda **asked: asyncio.run(ask(**asked)))


def said(told: list[dict]) -> str:
    return " ".join(one["text"] for one in told if one["kind"] == "said")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"setting": "half when always", "episodes": 3}, "Unknown mode 'half': modes are none, full"),
        ({"setting": "full when looks >= 0.9", "episodes": 3}, "Cannot read 'looks >= 0.9' in the gate"),
        ({"setting": str(OWN), "episodes": 0}, "has 1 to 100 episodes a setting, got 0"),
        (
            {"world": "libero_spatial, native numerics", "setting": str(OWN), "episodes": 1},
            "one machine's own numerics",
        ),
        ({"do": "play", "setting": str(FULL), "task": 9, "state": 9}, "Task 9, initial state 9 of `full when vision"),
        (
            {"do": "play", "setting": "full when always", "task": 0, "state": 0},
            "is not recorded in libero_spatial; rec",
        ),
    ],
)
def test_bad_input_is_answered_in_a_sentence_and_nothing_is_run(live, root, asked, says):
    files = {*root.rglob("*.parquet")}
    assert says in said(live.ask(**{"do": "run"} | asked))
    assert {*root.rglob("*.parquet")} == files


def test_a_run_that_is_stopped_leaves_whole_episodes_and_goes_on_from_there(live, root, untrained, monkeypatch):
    monkeypatch.setattr(lab, "run_episode", slow.run_episode)
    new = Setting("prefix", "vision >= 0.6")
    study = Study(untrained, (new,), 8, folder=root / "tried")
    rows = lambda: study.rows(new).to_pylist()  # noqa: E731
    told = live.ask(do="run", setting=str(new), episodes=8, stop=lambda: len(study.rows(new, [])) >= 2)
    assert said(told).startswith("Stopped. Episodes that were finished are kept")
    before = rows()
    assert 2 <= len(before) < 8 and all(len(row["replan_rows"]) == row["replans"] for row in before)
    assert not list(root.rglob("*.part"))
    told = live.ask(do="run", setting=str(new), episodes=8)
    assert said(told) == f"`{new}`: 5 of 8 episodes solved." and len(rows()) == 8
    assert [row["recorded"] for row in before] == [row["recorded"] for row in rows()[: len(before)]]
    progress = [one["done"] for one in told if one["kind"] == "progress"]
    assert progress[0] == len(before) and progress == sorted(progress)
    data = live.widget.data
    assert data["chosen"]["setting"] == str(new)
    assert of(data["worlds"][data["chosen"]["world"]], new)["k"] == 5


def test_what_is_recorded_is_not_run_again(live, monkeypatch):
    monkeypatch.setattr(lab, "run_episode", None)
    assert said(live.ask(do="run", setting=str(FULL), episodes=3)) == f"`{FULL}` is recorded."
    assert live.widget.data["chosen"]["setting"] == str(FULL)


def test_an_episode_is_played_again_with_its_pictures_and_comes_out_to_the_bit(untrained, gl, tmp_path):
    if gl != Protocol().gl:
        pytest.skip("this machine draws by other means")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "untrained").symlink_to(untrained)
    setting = Setting("full", "every(3)")
    recorded = Study(untrained, (setting,), 1, folder=tmp_path / "runs").run(1)
    widget, told = Explorer("libero_spatial", str(setting), tmp_path), []
    widget.send = lambda content, buffers=None: told.append(content | {"buffers": buffers})
    asyncio.run(widget._do("play", "libero_spatial", str(setting), task=0, state=0))
    limit = STEP_LIMITS["libero_spatial"]
    assert (
        said(told)
        == f"`{setting}`, task 0, initial state 0: not solved after {limit} control steps, to the bit as recorded."
    )
    (film,) = [one for one in told if one["kind"] == "film"]
    assert len(film["buffers"]) == limit + 1 and all(one[:3] == b"\xff\xd8\xff" for one in film["buffers"])
    assert film["replans"] == recorded.replans[["step", "reused", "age"]].astype(int).to_numpy().tolist()
    images = film["signals"][0]
    assert images["name"] == "images" and images["values"][0] is None and images["bound"] is None
    assert images["values"][1] == pytest.approx(recorded.replans["vision_anchor"][1], abs=1e-4)
    progress = [one["done"] for one in told if one["kind"] == "progress"]
    assert progress[-1] > 0 and told[-1]["kind"] == "idle"


def test_what_came_out_otherwise_is_told():
    found = {"success": "False / True", "steps": "220 / 81", "replans": 17, "first_difference": 4, "agrees": False}
    found |= {"machine": "torch 2 / 3", "error": ""}
    assert came_out(found) == (
        "not as recorded: from replan 4 on it differs, success False / True, steps 220 / 81 (recorded / now); "
        "machines: torch 2 / 3"
    )
    assert came_out(found | {"error": "OSError: gone"}) == "the simulator failed (OSError: gone)"
