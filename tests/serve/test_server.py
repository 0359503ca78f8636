"""The server itself: what each protocol says and is told, who gets in, and that nothing a client does stops it."""

import asyncio
import socket
import threading
import time
import urllib.request

import msgpack
import numpy as np
import pandas as pd
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from clients import OpenpiClient, observation
from kvlab.serve import server
from kvlab.serve.wire import pack, unpack
from kvlab.study.records import EPISODE, REPLANS, SETTING

PROMPT = "pick up the black bowl"
STATE = np.array([0, 0.1, 1.2, 3.1, 0.1, 0, 0.02, -0.02])


def frames(scene: int = 0) -> dict:
    rng = np.random.default_rng(scene)
    return {camera: rng.integers(0, 255, (32, 32, 3), np.uint8) for camera in ("agentview", "wrist")}


def seen(x: float = 0.0, scene: int = 0, **more) -> dict:
    return observation(frames(scene), STATE + [x, *[0] * 7], PROMPT, **more)


@pytest.fixture(scope="module")
def port(serving, serve_setting, tmp_path_factory):
    with serving(serve_setting("full when every(2)")) as port:
        yield port


def asked(port: int, *observations: dict) -> list[dict]:
    """What one connection is answered."""
    with connect(f"ws://127.0.0.1:{port}", compression=None) as connection:
        unpack(connection.recv())
        found = []
        for one in observations:
            connection.send(pack(one))
            found.append(unpack(connection.recv()))
        return found


def test_it_greets_with_what_it_serves(port):
    with connect(f"ws://127.0.0.1:{port}", compression=None) as connection:
        told = unpack(connection.recv())
    assert told["protocol"] == "openpi" and told["model"] == "pi0" and told["setting"] == "full when every(2)"
    assert told["chunk"] == 8 and told["execute"] == "5" and told["denoising_steps"] == 2
    assert {*told["observation"]} == {"observation/image", "observation/wrist_image", "observation/state", "prompt"}


def test_an_answer_says_what_was_reused_and_how_long_it_took(port):
    first, second, third = asked(port, *(seen(0.05 * n) for n in range(3)))
    assert first["actions"].shape == (8, 7) and first["actions"].dtype == np.float32
    assert [one["kvlab"]["reused"] for one in (first, second, third)] == [False, True, False]
    assert [one["kvlab"]["age"] for one in (first, second, third)] == [0, 1, 0]
    assert first["kvlab"]["began"] == "first" and second["kvlab"]["began"] is None
    assert {"ms_gate", "ms_vision", "ms_prefill", "ms_denoise", "ms_total"} <= second["kvlab"].keys()
    assert second["kvlab"]["executed"] == 5 and second["kvlab"]["denoised"] == 2
    assert {"distance", "settled", "gripper"} <= second["kvlab"]["signals"].keys()
    assert 0 < second["policy_timing"]["infer_ms"] <= second["server_timing"]["infer_ms"]
    assert second["server_timing"]["prev_total_ms"] >= first["server_timing"]["infer_ms"]


def test_clients_that_mark_episodes_do_so_in_any_of_three_ways(port):
    found = asked(port, seen(session_id="a"), seen(session_id="a"), seen(session_id="b"))
    assert [one["kvlab"]["began"] for one in found] == ["asked", None, "asked"]
    found = asked(port, *(seen(__reset_policy_state__=reset) for reset in (True, False, True)))
    assert [one["kvlab"]["began"] for one in found] == ["asked", None, "asked"]
    reset = {"endpoint": "reset"}
    found = asked(port, reset, seen(), seen(), reset, seen())
    assert found[0] == found[3] == {"status": "reset successful"}
    assert [found[n]["kvlab"]["began"] for n in (1, 2, 4)] == ["asked", None, "asked"]


def test_several_connections_have_a_cache_each(port):
    """Interleaved, they are answered as one by one."""
    alone = [asked(port, *(seen(0.05 * n, scene) for n in range(4))) for scene in (1, 2)]
    address = f"ws://127.0.0.1:{port}"
    with connect(address, compression=None) as one, connect(address, compression=None) as other:
        for connection in (one, other):
            connection.recv()
        for n in range(4):
            for scene, connection in ((1, one), (2, other)):
                connection.send(pack(seen(0.05 * n, scene)))
            for scene, connection in ((1, one), (2, other)):
                answer = unpack(connection.recv())
                assert answer["actions"].tobytes() == alone[scene - 1][n]["actions"].tobytes()


def test_who_asks_much_keeps_nobody_waiting(port):
    """A client that sends its observations ahead is served in turn with one that waits for each answer."""
    address, done = f"ws://127.0.0.1:{port}", []
    with connect(address, compression=None) as greedy, connect(address, compression=None) as modest:
        greedy.recv(), modest.recv()
        asks = threading.Thread(target=lambda: [greedy.send(pack(seen(scene=n))) for n in range(60)])
        reads = threading.Thread(target=lambda: [done.append(greedy.recv()) for _ in range(60)])
        asks.start(), reads.start()
        while not done:
            time.sleep(1e-3)
        for n in range(5):
            modest.send(pack(seen(scene=n)))
            modest.recv()
        assert len(done) < 30
        asks.join(), reads.join()


BAD = [
    ({"observation/image": None}, "the observation lacks observation/image; it has observation/state"),
    ({"prompt": None}, "the observation lacks prompt"),
    ({"observation/state": np.full(8, np.nan)}, "the state should be finite, but number 0 is not"),
    ({"observation/state": np.zeros(7)}, "the state should be an array of 8 numbers, got float64 of shape (7,)"),
    ({"observation/image": np.zeros((3, 32, 32))}, "the frame of the camera agentview should be uint8"),
    ({"prompt": "bowl " * 40}, "tokens; this model takes at most 24"),
    ({"__executed_steps__": -1}, "__executed_steps__ should be a whole number from 0 on, got -1"),
    ({"seed": "x"}, "seed should be a list of whole numbers from 0 on, got 'x'"),
]


@pytest.mark.parametrize(("changes", "says"), BAD)
def test_a_mistake_is_one_sentence_and_the_server_goes_on(port, changes, says):
    wrong = {key: value for key, value in (seen() | changes).items() if value is not None}
    _refused(port, pack(wrong), says)
    assert asked(port, seen())[0]["kvlab"]["began"] == "first"


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (b"\x00garbage", "is not readable msgpack"),
        ("text", "a frame should be binary (msgpack), got text"),
        (msgpack.packb([1, 2]), "an observation should be a map, got list"),
        (b"", "a frame of 0 bytes is not readable msgpack"),
    ],
)
def test_what_is_no_observation_is_refused(port, frame, says):
    _refused(port, frame, says)


def _refused(port: int, frame: bytes | str, says: str) -> None:
    """As openpi's server refuses: a text frame, and the end with code 1011."""
    with connect(f"ws://127.0.0.1:{port}", compression=None) as connection:
        connection.recv()
        connection.send(frame)
        told = connection.recv()
        assert isinstance(told, str) and says in told and "\n" not in told
        with pytest.raises(ConnectionClosed) as end:
            connection.recv()
    assert end.value.rcvd.code == 1011 and told.startswith(end.value.rcvd.reason)


def test_a_frame_that_is_too_long_is_refused(serving, serve_setting, monkeypatch):
    monkeypatch.setattr(server, "FRAME", 10_000)
    with serving(serve_setting("none")) as port, connect(f"ws://127.0.0.1:{port}", compression=None) as connection:
        connection.recv()
        connection.send(bytes(10_001))
        with pytest.raises(ConnectionClosed) as end:
            connection.recv()
        assert end.value.rcvd.code == 1009 and "exceeds limit of 10000 bytes" in end.value.rcvd.reason
        assert asked(port, seen())[0]["kvlab"]["began"] == "first"


def test_a_fault_of_the_server_is_a_sentence_too(serving, serve_setting, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory")

    with serving(serve_setting("none")) as port:
        monkeypatch.setattr("kvlab.serve.session.Session.answer", broken)
        _refused(port, pack(seen()), "the server failed with RuntimeError: out of memory")
        monkeypatch.undo()
        assert asked(port, seen())[0]["kvlab"]["began"] == "first"


def test_whether_it_is_there_can_be_asked(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:
        assert answer.status == 200 and answer.read() == b"OK\n"


def test_a_page_in_a_browser_does_not_get_in(port):
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://127.0.0.1:{port}", origin="http://somewhere.example")


def test_a_key_is_asked_for(serving, serve_setting):
    with serving(serve_setting("none"), api_key="open sesame") as port:
        for headers in ({}, {"Authorization": "Api-Key other"}, {"Authorization": "Basic %%%"}):
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{port}", additional_headers=headers)
            assert refused.value.response.status_code == 401
            assert refused.value.response.body == b"the API key is missing or another one\n"
        with connect(f"ws://127.0.0.1:{port}", additional_headers={"Authorization": "Api-Key open sesame"}) as one:
            assert unpack(one.recv())["model"] == "pi0"
        with connect(f"ws://kvlab:open%20sesame@127.0.0.1:{port}") as one:
            assert unpack(one.recv())["model"] == "pi0"


def test_others_are_let_near_with_a_key_alone(serving, serve_setting):
    for host in ("0.0.0.0", "::", "some.host"):
        with pytest.raises(ValueError, match=f"others can reach {host}: give an API key, or serve on 127.0.0.1"):
            with serving(serve_setting("none"), host=host):
                pass
    with serving(serve_setting("none"), host="0.0.0.0", api_key="k"), serving(serve_setting("none"), host="localhost"):
        pass


def test_a_second_server_on_a_port_is_told_so(serving, serve_setting, port):
    async def run():
        async with server.running(serve_setting("none"), port=port):
            pass

    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; --port takes"):
        asyncio.run(run())


def test_an_unknown_protocol_is_named(serving, serve_setting):
    with pytest.raises(ValueError, match="the protocol is one of openpi, vla-eval, got 'grpc'"):
        with serving(serve_setting("none"), "grpc"):
            pass


def test_answers_are_logged_as_runs_are(serving, serve_setting, tmp_path):
    with serving(serve_setting("full when every(2)", log_signals=True), log=tmp_path) as port:
        found = [one["kvlab"] for one in asked(port, *(seen(0.05 * n) for n in range(3)))]
        asked(port, seen())
    (path,) = tmp_path.glob("*.jsonl")
    rows = pd.read_json(path, lines=True)
    assert rows["connection"].tolist() == [0, 0, 0, 1] and rows["replan"].tolist() == [0, 1, 2, 0]
    assert rows["began"].tolist()[::3] == ["first", "first"] and (rows["prompt"] == PROMPT).all()
    assert rows["reused"].tolist()[:3] == [one["reused"] for one in found] == [False, True, False]
    for name in ("vision_anchor", "pixels_previous", "state_anchor", "distance"):
        assert rows[name][1] == pytest.approx(found[1]["signals"][name])
    not_known = {*EPISODE, *SETTING, "step", "delay"}  # of an episode that others run
    assert {*REPLANS.columns} - not_known <= {*rows.columns}


def message(kind: str, payload: dict, seq: int = 7) -> bytes:
    return pack({"type": kind, "payload": payload, "seq": seq, "timestamp": 0.0}, keys=str)


def look(x: float = 0.0, **changes) -> dict:
    told = {"images": frames(), "task_description": PROMPT, "states": STATE + [x, *[0] * 7]} | changes
    return {key: value for key, value in told.items() if value is not None}


def test_the_harness_is_given_single_actions(serving, serve_setting):
    with serving(serve_setting("full when always execute=3"), "vla-eval") as port:
        with connect(f"ws://127.0.0.1:{port}", compression=None) as connection:

            def ask(kind, payload, seq=7):
                connection.send(message(kind, payload, seq))
                return unpack(connection.recv())

            hello = ask("hello", {"protocol_version": 1})
            assert hello["type"] == "hello" and hello["payload"]["protocol_version"] == 1
            assert hello["payload"]["observation_params"]["send_state"] and hello["payload"]["kvlab"]["chunk"] == 8
            connection.send(message("episode_start", {"task": {"task_id": 2, "episode_idx": 4}}))
            told = [ask("observation", look(), seq) for seq in range(4)]
            assert [one["seq"] for one in told] == [0, 1, 2, 3] and told[0]["payload"]["actions"].shape == (7,)
            assert [one["payload"]["kvlab"]["replan"] for one in told] == [0, 0, 0, 1]
            assert told[3]["payload"]["kvlab"]["reused"]
            connection.send(message("episode_end", {"metrics": {"success": True}}))
            connection.send(message("episode_start", {"task": {"task_id": 2, "episode_idx": 4}}))
            again = ask("observation", look())
            assert again["payload"]["actions"].tobytes() == told[0]["payload"]["actions"].tobytes()
            assert again["payload"]["kvlab"]["began"] == "asked"


def test_the_harness_is_told_of_mistakes_and_goes_on(serving, serve_setting):
    with serving(serve_setting("none execute=1"), "vla-eval") as port:
        with connect(f"ws://127.0.0.1:{port}", compression=None) as connection:
            for frame, says in [
                (b"garbage", "is not readable msgpack"),
                (pack({"type": "hello"}), "a message should be a map of type, payload, seq, timestamp"),
                (message("goodbye", {}), "unknown type of message 'goodbye'"),
                (message("observation", look(states=None)), "lacks states; it has images, task_description"),
                (message("observation", look(images={"agentview": 1})), "the observation lacks images.wrist"),
                (message("observation", look(states=np.full(8, np.inf))), "the state should be finite"),
            ]:
                connection.send(frame)
                told = unpack(connection.recv())
                assert told["type"] == "error" and says in told["payload"]["error"]
            connection.send(message("observation", look()))
            assert unpack(connection.recv())["type"] == "action"


def test_openpis_own_client_over_one_connection_or_two(port):
    """Unchanged, from PyPI: two episodes with the same prompt give the same bits, whichever way; it knows no reset."""
    ways = {"jump": [0.05, 0.15, 0.25, 0.35, 0.0, 0.05, 0.15], "slow": [0, 0.08, 0.16, 0.08, 0.005, 0, 0.08, 0.16]}
    for steps in ways.values():
        begins = len(steps) - 3
        shown = [seen(x, scene=0 if n < begins else 1) for n, x in enumerate(steps)]
        one, other = OpenpiClient(port), OpenpiClient(port)
        together = [one.infer(each) for each in shown]
        apart = [other.infer(each) for each in shown[begins:]]
        assert [each["actions"].tobytes() for each in together[begins:]] == [
            each["actions"].tobytes() for each in apart
        ]
        assert [each["kvlab"]["reused"] for each in apart] == [False, True, False]
        one.close(), other.close()


def test_openpis_own_client_reads_the_sentence(port):
    client = OpenpiClient(port)
    assert client.metadata["mode"] == "full"
    assert (
        "Error in inference server:\nthe observation lacks prompt"
        in client.infer({key: value for key, value in seen().items() if key != "prompt"})["error"]
    )
    client.close()


def test_half_a_handshake_and_half_a_frame_stop_nobody(port):
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        raw = connect(f"ws://127.0.0.1:{port}", compression=None)
        raw.recv()
        raw.socket.sendall(b"\x82\xfe\xff\xff")  # a binary frame of 65535 bytes, of which none comes
        started = time.monotonic()
        assert asked(port, seen())[0]["kvlab"]["began"] == "first"
        assert time.monotonic() - started < 9  # the half handshake is given up after ten
        raw.socket.close()
