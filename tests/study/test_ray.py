"""Studies on a real Ray cluster of two nodes on this machine: rows as of processes, whatever dies meanwhile."""

import shutil
import tempfile
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest
from pandas.testing import assert_frame_equal

from kvlab.paths import DATA
from kvlab.sim import workers
from kvlab.sim.workers import by_task
from kvlab.study import trial
from kvlab.study.protocol import Protocol
from kvlab.study.records import ORIGIN
from kvlab.study.settings import parse_setting
from kvlab.study.study import Study

DIFFER = ["wall_s", "recorded", *ORIGIN]  # from run to run
LEAN = {"include_dashboard": False, "include_log_monitor": False, "no_monitor": True}  # processes that nobody needs
WHERE = "os.getpid(), os.environ['MUJOCO_GL'], __import__('ray').get_runtime_context().get_node_id()"


@pytest.fixture(scope="module")
def own_ray():
    """Ray keeps its sockets, whose names must be short, and its logs in a folder of these tests, and tells nobody."""
    folder = tempfile.mkdtemp(prefix="kv", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # it would keep a token in the home folder
        patch.setenv("RAY_worker_niceness", "0")  # it would have its workers wait for whatever else runs
        patch.setenv("RAY_ADDRESS", "local")
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def cluster(own_ray):
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, **LEAN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    cluster.shutdown()


def test_more_workers_than_processors_take_turns_on_both_nodes(cluster, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setenv("PYOPENGL_PLATFORM", "osmesa")
    jobs = [(k % 3, [(f"(lambda os: ({k}, {WHERE}))(__import__('os'))",)]) for k in range(9)]
    found = sorted(by_task(eval, jobs, 3, "who", "job", "ray"))  # a worker cannot import what is defined here
    assert [k for k, *_ in found] == [*range(9)] and {gl for _, _, gl, _ in found} == {"osmesa"}
    assert len({process for _, process, *_ in found}) == 3
    assert len({node for *_, node in found}) == 2


def test_killed_workers_lose_nothing_and_the_rows_are_those_of_processes(cluster, gl, tmp_path, monkeypatch):
    settings = (parse_setting("none"), parse_setting("prefix when vision >= 0.97"))
    here = Study(DATA / "checkpoints" / "mini_spatial", settings, 3, Protocol(gl=gl), folder=tmp_path / "here")
    there, add, killed = replace(here, folder=tmp_path / "there"), Study._add, []

    def add_and_kill(study, row):
        """After the first of six episodes: each worker has one of the others in hand."""
        add(study, row)
        if not killed:
            killed.extend(ray_workers())
            for process in killed:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            assert len(killed) == 2

    here.run(2)
    monkeypatch.setattr(Study, "_add", add_and_kill)
    there.run(2, "ray")
    assert killed
    for a, b in zip(vars(here.read()).values(), vars(there.read()).values(), strict=True):
        assert_frame_equal(*(rows.drop(columns=DIFFER, errors="ignore") for rows in (a, b)))


def ray_workers() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [process] if " ".join(process.cmdline()).startswith("ray::Worker") else []
    return found


def test_what_goes_wrong_in_a_job_is_raised_here(cluster, monkeypatch):
    with pytest.raises(ZeroDivisionError, match="^division by zero$"):
        list(by_task(eval, [(0, [("1 / 0",)])], 1, "wrong", "job", "ray"))
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(OSError, match="^a Ray worker lacks something: .*MUJOCO_GL='nonsense' cannot draw off screen"):
        list(by_task(trial.run_episode, [(0, [()])], 1, "wrong", "job", "ray"))


def test_without_a_cluster_one_is_begun_and_a_job_that_kills_its_workers_ends_the_run(own_ray, monkeypatch):
    import ray

    monkeypatch.setattr(workers, "RESTARTS", 1)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    dies = "__import__('time').sleep(1) or __import__('os')._exit(1)"  # once the first result has come through
    results = by_task(eval, [(0, [("1 + 1",)]), (0, [(dies,)])], 1, "dying", "job", "ray")
    assert next(results) == 2
    with pytest.raises(BrokenProcessPool, match="^a Ray worker died 2 times of its job$"):
        next(results)
    assert not ray.is_initialized()


def test_a_machine_with_another_simulator_or_checkpoint_is_told(untrained, tmp_path, monkeypatch):
    study = Study(untrained, (parse_setting("none"),), 1, folder=tmp_path)
    monkeypatch.setattr(trial, "run_episode", lambda *arguments: pytest.fail("was run"))
    made_of = trial.ingredients(untrained, "libero_spatial")
    for other, says in (
        ({"checkpoint": "other"}, r"another checkpoint \(\w+, not other\)"),
        ({"simulator": {"mujoco": "2.3.7"}}, "another simulator .*, not {'mujoco': '2.3.7'}"),
        ({"inputs": made_of["inputs"] | {"scene": []}}, "another inputs "),
    ):
        with pytest.raises(ValueError, match=f"is not set up as the study's machine: it has {says}"):
            trial.run_elsewhere(made_of | other, untrained, study.protocol, 0, 0, 0, 0, study.settings[0])


def test_a_backend_that_is_not_there_is_one_sentence(untrained, tmp_path, monkeypatch):
    study = Study(untrained, (parse_setting("none"),), 1, folder=tmp_path)
    with pytest.raises(ValueError, match="^the backend must be one of processes, ray, got 'dask'$"):
        study.run(backend="dask")
    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^the backend ray needs Ray: pip install -e '.\[ray\]' -c constraints.txt$"):
        study.run(backend="ray")
