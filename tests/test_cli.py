"""The program `kvlab`: a user's mistake ends in one sentence and a non-zero status."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pandas as pd
import pytest

from kvlab.bench import gpu, peers
from kvlab.bench.latency import STAGES
from kvlab.cli import app, program
from kvlab.paths import ROOT
from kvlab.pi0 import weights


def kvlab(*arguments, env: dict | None = None) -> subprocess.CompletedProcess:
    """Runs the program, without the colours that Typer forces where a variable such as GITHUB_ACTIONS is set."""
    command = [Path(sys.executable).with_name("kvlab"), *arguments]
    plain = {**(env or os.environ), "_TYPER_FORCE_DISABLE_TERMINAL": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=plain)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("demos", "libero_kitchen"), ("libero_kitchen", "libero_spatial")),
        (("demos", "libero_spatial", "--task", "10"), ("Unknown task 10", "0 to 9")),
    ],
)
def test_a_mistake_is_one_sentence(arguments, says, tmp_path):
    ran = kvlab(*arguments, "--out", tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("kvlab: ") and ran.stderr.count("\n") == 1
    assert all(word in ran.stderr for word in says)


def said(capsys, monkeypatch, *arguments) -> str:
    """What the program prints, run in this process; its mistakes raise SystemExit with the sentence."""
    monkeypatch.setattr(sys, "argv", ["kvlab", *map(str, arguments)])
    try:
        program()
    except SystemExit as end:
        if end.code:
            raise
    return capsys.readouterr().out


RUN = {"--setting": "none", "--episodes": "3", "--suite": "libero_spatial", "--gl": "software", "--seed": "0"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"--suite": "libero_kitchen"}, "Unknown suite 'libero_kitchen': known suites are libero_spatial"),
        ({"--suite": "libero_goal"}, "was trained on libero_spatial, not on libero_goal"),
        ({"--setting": "half when always"}, "unknown mode 'half': modes are none, full"),
        ({"--setting": "full"}, "the setting 'full' has no gate: write for example `full when vision >= 0.98`"),
        ({"--setting": "full when seen"}, "cannot read 'seen' in the gate 'seen': a gate is"),
        ({"--setting": "full when vision >= 2"}, "the threshold 2 in 'vision >= 2' is outside [-1, 1]"),
        ({"--episodes": "0"}, "untrained has 1 to 100 episodes a setting, got 0: each task"),
        ({"--gl": "mesa"}, "gl must be one of software, hardware, got 'mesa'"),
        ({"--seed": "-1"}, "a seed is a whole number from 0 on, got -1"),
        ({"--checkpoint": "nowhere"}, "there is no folder nowhere"),
        ({"--evaluation": "openvla"}, "evaluation must be one of kvlab, openpi, lerobot, got 'openvla'"),
        ({"--evaluation": "lerobot"}, "is kvlab's own, and the evaluation lerobot would mislead it"),
        ({"--device": "tpu"}, "device must be one of cpu, cuda, engine, engine-fp8, got 'tpu'"),
        ({"--statistics": "nowhere.json"}, "there is no file of statistics nowhere.json"),
        ({"--config": "pi05"}, "--config should be NAME=VALUE, such as discrete_state_input=false; got 'pi05'"),
        ({"--config": "pi05=true"}, "is not a published checkpoint, whose config.json has the entries ['pi05']"),
        (
            {"--checkpoint": "gs://openpi-assets/checkpoints/pi0_libero"},
            "is an address: download it and give its folder",
        ),
    ],
)
def test_a_study_that_cannot_be_run_is_one_sentence(untrained, tmp_path, capsys, monkeypatch, changes, says):
    options = RUN | {"--checkpoint": untrained, "--folder": tmp_path} | changes
    with pytest.raises(SystemExit) as end:
        said(capsys, monkeypatch, "run", *(word for pair in options.items() for word in pair))
    assert end.value.code.startswith("kvlab: ") and says in end.value.code and "\n" not in end.value.code
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_is_one_sentence(untrained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(weights, "free_memory", lambda device: 0)
    options = RUN | {"--checkpoint": untrained, "--folder": tmp_path}
    with pytest.raises(
        SystemExit, match="^kvlab: .* as float32, but cpu has 0.0 GB of memory free: free some, or load"
    ):
        said(capsys, monkeypatch, "run", *(word for pair in options.items() for word in pair))


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("__EGL_VENDOR_LIBRARY_DIRS", "/nowhere", "__EGL_VENDOR_LIBRARY_DIRS='/nowhere' names nothing that is there"),
        (
            "__EGL_VENDOR_LIBRARY_DIRS",
            "/tmp",
            "No OpenGL driver that draws off screen, with __EGL_VENDOR_LIBRARY_DIRS=",
        ),
        ("MUJOCO_EGL_DEVICE_ID", "7", "MUJOCO_EGL_DEVICE_ID='7' is no device of this machine, which has"),
        ("PYOPENGL_PLATFORM", "glx", "PYOPENGL_PLATFORM='glx' does not go with MUJOCO_GL='egl': unset it"),
    ],
)
def test_what_cannot_draw_is_one_sentence(untrained, tmp_path, variable, value, says):
    """A driver is missed by the process that would draw, and told by the first."""
    environment = os.environ | {"MUJOCO_GL": "egl", variable: value}
    options = ["--checkpoint", untrained, "--folder", tmp_path, "--episodes", "1", "--workers", "1"]
    ran = kvlab("run", "--setting", "none", *options, env=environment)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    *progress, sentence = ran.stderr.splitlines()
    assert sentence.startswith(f"kvlab: {says}")
    assert all("episode" in line for line in progress if line)


def test_run_prints_a_line_for_each_setting(untrained, tmp_path, capsys, monkeypatch):
    """Of recorded rows; that they are not run again is tested with the studies."""
    from kvlab.study import loading, study, trial

    settings, outcomes = ("full when vision >= 0.985", "none"), iter([True, True, False, True, None, True])
    monkeypatch.setattr(study, "by_task", lambda work, jobs, *_: (work(*one) for _, many in jobs for one in many))
    monkeypatch.setattr(loading, "portable", lambda policy: policy)  # which this process is not
    monkeypatch.setattr(trial, "check_bits", lambda: None)
    monkeypatch.setattr(trial, "_env", lambda protocol, index: Mock(drawn_by="llvmpipe"))

    def rollout(env, policy, *_):
        success = next(outcomes)
        if success is None:
            raise FloatingPointError("unstable")
        return {"success": success, "steps": 9, "replans": 0, "reused": 0, "wall_s": 1.0}, [], []

    monkeypatch.setattr(trial, "rollout", rollout)
    options = ["--checkpoint", untrained, "--folder", tmp_path, "--episodes", "3"]
    for setting in settings:
        options += ["--setting", setting]
    assert said(capsys, monkeypatch, "run", *options).splitlines() == [
        "full when vision >= 0.985: success 1/2 (95 % Wilson interval 9 to 91 %), reuse rate 0.000 of 0 replans, "
        "1 errors; FloatingPointError: unstable",
        "none: success 3/3 (95 % Wilson interval 44 to 100 %), reuse rate 0.000 of 0 replans, 0 errors",
    ]


def test_a_plan_is_printed_and_nothing_is_run(untrained, tmp_path, capsys, monkeypatch):
    from kvlab.study import study

    monkeypatch.setattr(study, "by_task", lambda *_: pytest.fail("it ran"))
    options = ["--checkpoint", untrained, "--folder", tmp_path, "--setting", "none", "--plan", "--workers", "32"]
    lines = said(capsys, monkeypatch, "run", *options).splitlines()
    assert lines[-2].split() == ["none", "0", "100"]
    assert lines[-1].startswith("100 of 100 episodes would be run: about 1 min with 32 workers (of 8.0 s each")
    assert not [*tmp_path.iterdir()]


def test_the_help_of_run_names_every_mode_signal_and_what_may_be_seen():
    from kvlab.reuse.gates import DISTANCES, SIGNALS
    from kvlab.reuse.modes import KEPT
    from kvlab.reuse.phase import PHASES
    from kvlab.study.seeing import GRAMMAR

    words = set(re.findall(r"[a-z_]+", kvlab("run", "--help").stdout))
    shown = set(re.findall(r"[a-z]+", " ".join(re.findall(r"`(.+?)`", GRAMMAR)))) - {"live"}
    assert {"frozen", "late", "state"} <= shown
    assert {*KEPT, *SIGNALS, *DISTANCES, *PHASES, *shown, "always", "never", "every", "age", "previous"} <= words


def test_entries_of_a_checkpoint_are_json_or_text():
    from kvlab.options import entries

    given = ["discrete_state_input=false", "lerobot_version=0.4.4", 'rename_map={"a": "b=c"}', "max_token_len=null"]
    assert entries(given) == {
        "discrete_state_input": False,
        "lerobot_version": "0.4.4",
        "rename_map": {"a": "b=c"},
        "max_token_len": None,
    }
    assert entries(None) == {}


def test_the_help_of_run_names_what_published_checkpoints_leave_out():
    from kvlab.pi0 import lerobot, openpi

    words = set(re.findall(r"[a-z_]+", kvlab("run", "--help").stdout))
    needed = {name for name, *_ in openpi.DECIDES.values()} | {"lerobot_version", "rename_map", "n_action_steps"}
    assert needed <= words
    assert needed <= openpi.Config.model_fields.keys() | lerobot.Config.model_fields.keys()


def test_interrupted_a_study_keeps_what_it_recorded_and_says_how_to_go_on(untrained, gl, tmp_path):
    """Ctrl-C in a terminal reaches every process of the program, here after the first episode."""
    command = [Path(sys.executable).with_name("kvlab"), "run", "--checkpoint", untrained, "--setting", "none"]
    command += ["--folder", tmp_path, "--gl", gl, "--workers", "1"]
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a program in the background ignores Ctrl-C
    )
    while running.poll() is None and not list(tmp_path.rglob("*.parquet")):
        time.sleep(0.2)
    assert running.poll() is None, running.communicate()[1]
    os.killpg(running.pid, signal.SIGINT)
    _, stderr = running.communicate()
    assert running.returncode == 130, stderr
    assert "Traceback" not in stderr and "Error" not in stderr
    assert stderr.splitlines()[-1] == (
        "kvlab: interrupted; what was finished is kept, and the same command goes on from there"
    )
    from kvlab.study.protocol import Protocol
    from kvlab.study.settings import parse_setting
    from kvlab.study.study import Study

    study = Study(untrained, (parse_setting("none"),), 100, Protocol(gl=gl), folder=tmp_path)
    found = study.rows(study.settings[0]).to_pylist()
    assert found[0]["task"] == 0 and 1 <= len(found) <= 2  # one more where the signal took its time


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("tpu", "unknown device 'tpu': it is cpu or cuda"),
        ("cuda", "no CUDA device on this machine: use --device cpu (slow)"),
    ],
)
def test_a_device_that_is_not_there_is_one_sentence(tmp_path, capsys, monkeypatch, device, says):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        said(capsys, monkeypatch, "train", tmp_path, "--out", tmp_path / "out", "--device", device)
    assert end.value.code == f"kvlab: {says}" and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--device", "tpu"], "the device is cpu or cuda, and --preset goes with --device cuda; got 'tpu' and None"),
        (["--preset", "base"], "the device is cpu or cuda, and --preset goes with --device cuda; got 'cpu' and 'base'"),
        (["--device", "cuda", "--rollouts"], "--rollouts measures on the CPU: leave --device out"),
        (["--device", "cuda"], "--device cuda is asked for, but torch finds no CUDA GPU on this machine"),
    ],
)
def test_a_bench_that_cannot_be_is_one_sentence(capsys, monkeypatch, options, says):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        said(capsys, monkeypatch, "bench", *options)
    assert end.value.code == f"kvlab: {says}"


def test_an_unknown_preset_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(SystemExit) as end:
        said(capsys, monkeypatch, "bench", "--device", "cuda", "--preset", "huge")
    assert end.value.code == "kvlab: unknown preset 'huge': it is one of mini, base, mini_half, mini_double, base_pi05"


def test_a_bench_on_a_gpu_writes_its_rows_and_errors(tmp_path, capsys, monkeypatch):
    """Measured on this processor, as far as the command line goes."""
    machine = {"processor": "a processor", "computed_by": "a GPU", "date": "today"}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    rows = pd.DataFrame([{"implementation": "engine", "setting": "none", "repeat": 0, "episode": 0, "replan": 0}])
    rows = rows.assign(reused=False, **{f"ms_{stage}": 1.5 for stage in STAGES})
    monkeypatch.setattr(gpu, "random_policy", lambda config: SimpleNamespace(config=config))
    monkeypatch.setattr(gpu, "agreement", lambda policy: pd.DataFrame([{"mode": "none", "replan": 0, "error": 0.25}]))
    monkeypatch.setattr(
        gpu, "report", lambda policy, settings, runs, rounds: (rows, machine | {"settings": len(settings)})
    )
    eight = rows.assign(implementation=gpu.EIGHT, ms_total=1.25)
    beside = {"engine": rows.assign(setting="none steps=2", ms_total=0.5), gpu.EIGHT: eight}
    monkeypatch.setattr(gpu, "measure", lambda policy, settings, runs, rounds, by: beside[by[0]])
    graph = rows.assign(implementation="eager, one CUDA graph", ms_total=2.5)
    monkeypatch.setattr(peers, "in_one_graph", lambda policy, runs, rounds: graph)
    monkeypatch.setattr(peers, "lerobot", lambda config: {"lerobot": "9", "lerobot_ms": [7.0]})
    for preset, settings in (("base", 13), ("base_pi05", 11)):
        options = ("--device", "cuda", "--preset", preset, "--repeats", 2, "--out", tmp_path)
        assert "0.25" in said(capsys, monkeypatch, "bench", *options)
        assert pd.read_csv(tmp_path / f"gpu_{preset}_errors.csv").error.tolist() == [0.25]
        assert pd.read_csv(tmp_path / f"gpu_{preset}_steps.csv").ms_total.tolist() == [0.5]
        assert pd.read_csv(tmp_path / f"gpu_{preset}.csv").ms_total.tolist() == [1.5, 1.25, 2.5]
        assert pd.read_csv(tmp_path / f"gpu_{preset}_machines.csv").ms.tolist() == [1.5, 1.25, 2.5, 7]
        facts = json.loads((tmp_path / f"gpu_{preset}.json").read_text())
        assert (facts["policy"], facts["engine_error"], facts["settings"]) == (preset, 0.25, settings)
        assert facts["lerobot_ms"] == [7.0]


def test_train_hands_every_option_on(tmp_path, capsys, monkeypatch):
    import inspect

    from kvlab.pi0 import train as training

    asked, signature = {}, inspect.signature(training.train)
    monkeypatch.setattr(training, "train", lambda *a, **k: asked.update(signature.bind(*a, **k).arguments))
    wanted = {"steps": 6, "batch": 3, "draws": 2, "learning_rate": 0.01, "device": "cpu", "seed": 4, "save_every": 2}
    wanted |= {"preset": "mini_half", "rotation": "6d"}
    options = [word for name, value in wanted.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert "6 steps" in said(capsys, monkeypatch, "train", tmp_path, "--out", tmp_path / "out", *options)
    assert asked == wanted | {"demos": tmp_path, "out": tmp_path / "out", "start": None}
    assert {*asked} == {*signature.parameters}
    said(capsys, monkeypatch, "train", tmp_path, "--out", tmp_path)
    assert all(asked[name] == p.default for name, p in signature.parameters.items() if p.default is not p.empty)


@pytest.mark.parametrize(
    ("options", "precision"), [((), "int8 weights"), (("--activations",), "int8 weights and activations")]
)
def test_a_quantized_checkpoint_is_one_like_any_other(untrained, tmp_path, capsys, monkeypatch, options, precision):
    folder = tmp_path / "int8"
    printed = said(capsys, monkeypatch, "quantize", untrained, "--out", folder, *options)
    assert printed == f"{precision}: {(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB in {folder}.\n"
    assert json.loads((folder / "config.json").read_text())["precision"] == precision
    plan = ["--checkpoint", folder, "--folder", tmp_path / "runs", "--setting", "none", "--plan"]
    assert "none" in said(capsys, monkeypatch, "run", *plan)
    with pytest.raises(SystemExit) as end:
        said(capsys, monkeypatch, "quantize", untrained, "--out", folder)
    assert end.value.code.endswith("is there already: remove it, or name another folder for the checkpoint")


def test_demonstrations_of_some_tasks(tmp_path, capsys, monkeypatch):
    from kvlab.sim import demos

    asked = []
    monkeypatch.setattr(demos, "generate", lambda *a, **k: asked.append((a, k)) or (6, 1))
    printed = said(capsys, monkeypatch, "demos", "libero_spatial", "--out", tmp_path, "--task", 2, "--task", 7)
    assert asked == [(("libero_spatial", tmp_path, 40, 2), {"only": [2, 7]})]
    assert printed.startswith("6 demonstrations written")


def test_every_command_is_in_the_help_and_in_the_readme():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    ran = kvlab("--help")
    assert ran.returncode == 0
    assert commands <= set(re.findall(r"^\W*(\w+)", ran.stdout, re.MULTILINE))
    assert commands <= set(re.findall(r"^\| `kvlab (\w+)`", (ROOT / "README.md").read_text(), re.MULTILINE))
