"""The explorer in JupyterLab: recorded episodes are played again, and settings that nobody recorded are run."""

import asyncio
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from tempfile import TemporaryDirectory

import anywidget
import pandas as pd
from traitlets import Dict

from kvlab.book import text
from kvlab.book.explorer.recorded import HERE, SEED, World, page, shown, worlds
from kvlab.paths import DATA
from kvlab.reuse import parse_gate
from kvlab.study.again import play, recorded_episode
from kvlab.study.protocol import Protocol
from kvlab.study.settings import Setting, parse_setting
from kvlab.study.study import Study

OFTEN = 0.3  # seconds between two reports of progress
SIGNALS = {"vision_anchor": "images", "pixels_anchor": "thumbnails", "state_anchor": "robot state"}


class Explorer(anywidget.AnyWidget):
    """The widget. Its JavaScript asks by messages, `{"do": "play", ...}`, and is answered, `{"kind": "film", ...}`.

    Episodes run in processes of their own and are waited for in a thread, so that the kernel stays free.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    data = Dict().tag(sync=True)

    def __init__(self, suite: str, setting: str, root: Path = DATA):
        """As `explorer.show`; `root` is the folder of what is recorded."""
        super().__init__(data=shown(suite, setting, root, live=True))
        self._root, self._first = root, (suite, setting)
        self.on_msg(self._asked)

    def _repr_mimebundle_(self, **options) -> tuple[dict, dict] | None:
        """The widget, and the page for where there is no kernel."""
        if (bundle := super()._repr_mimebundle_(**options)) is not None:
            bundle[0]["text/html"] = page(shown(*self._first, self._root))
        return bundle

    def _asked(self, _, content: dict, buffers: object) -> None:
        if content["do"] == "stop":  # only whole episodes are written, by this process and not by those
            for process in multiprocessing.active_children():
                process.terminate()
        else:
            self._doing = asyncio.ensure_future(self._do(**content))  # kept, since the loop would forget it

    async def _do(self, do: str, world: str, setting: str, **asked: int) -> None:
        """What was asked for; what is wrong with it is said in a sentence, and then the next may be asked."""
        try:
            chosen = worlds(self._root, tried=True)[world]
            await {"play": self._play, "run": self._run}[do](chosen, parse_setting(setting), **asked)
        except BrokenProcessPool:
            self._say(do, "Stopped. Episodes that were finished are kept, and a run goes on from there.")
        except (ValueError, OSError) as error:
            self._say(do, f"{str(error)[0].upper()}{str(error)[1:]}.")
        finally:
            self.send({"kind": "idle"})

    async def _play(self, world: World, setting: Setting, task: int, state: int) -> None:
        recording, episode = world.recording(setting), (task, state, SEED)
        most = int(recorded_episode(recording, *episode).episodes["steps"].iloc[0]) + 1
        with TemporaryDirectory() as folder:
            work = asyncio.to_thread(play, recording, world.checkpoint(), world.protocol, *episode, Path(folder))
            now, found = await self._followed("play", work, lambda: len(os.listdir(folder)), most, "control steps")
            pictures = [path.read_bytes() for path in sorted(Path(folder).iterdir())]
        self._say("play", f"`{setting}`, task {task}, initial state {state}: {came_out(found)}.")
        bounds = {term.signal: term.bound for term in parse_gate(setting.gate).terms}
        signals = [
            {"name": name, "bound": bounds.get(column), "values": _known(now.replans[column])}
            for column, name in SIGNALS.items()
        ]
        replans = now.replans[["step", "reused", "age"]].astype(int).to_numpy().tolist()
        self.send({"kind": "film", "replans": replans, "signals": signals}, pictures)

    async def _run(self, world: World, setting: Setting, episodes: int) -> None:
        if world.key["numerics"] != Protocol.numerics:
            raise ValueError("these rows are in one machine's own numerics, beside which none can be run here")
        study = Study(world.checkpoint(), (setting,), episodes, world.protocol, SEED, world.tried)
        (setting,) = study.settings  # in which what is the default is not said
        if (there := world.recordings.get(setting)) and len(there.read([])) >= episodes:
            self._say("run", f"`{setting}` is recorded.")
        else:
            work = asyncio.to_thread(study.run)
            rows = await self._followed("run", work, lambda: len(study.rows(setting, [])), episodes, "episodes")
            solved = int(rows.episodes["success"].sum())
            self._say("run", f"`{setting}`: {solved} of {text.count(episodes, 'episode')} solved.")
        self.data = shown(world.key["suite"], str(setting), self._root, live=True)

    async def _followed(self, do: str, work: Awaitable, done: Callable[[], int], of: int, unit: str) -> object:
        """The result of `work`; meanwhile it is told how many of the `unit` are `done`."""
        running = asyncio.ensure_future(work)
        while not running.done():
            self.send({"kind": "progress", "about": do, "done": done(), "of": of, "unit": unit})
            await asyncio.wait([running], timeout=OFTEN)
        return running.result()

    def _say(self, about: str, says: str) -> None:
        self.send({"kind": "said", "about": about, "text": says})


def came_out(found: dict) -> str:
    """Whether an episode came out again as it was recorded, out of `kvlab.study.again.compare`."""
    if found["error"]:
        return f"the simulator failed ({found['error']})"
    if found["agrees"]:
        ended = "solved" if found["success"] else "not solved"
        return f"{ended} after {text.count(int(found['steps']), 'control step')}, to the bit as recorded"
    apart = [f"{name} {found[name]}" for name in ("success", "steps", "replans") if isinstance(found[name], str)]
    where = f"from replan {found['first_difference']} on it differs" if pd.notna(found["first_difference"]) else ""
    said = ", ".join(filter(None, [where, *apart]))
    return f"not as recorded: {said} (recorded / now)" + (f"; machines: {found['machine']}" if found["machine"] else "")


def _known(values: pd.Series) -> list[float | None]:
    """Rounded, and None where nothing was compared."""
    return [None if value != value else round(float(value), 4) for value in values]
