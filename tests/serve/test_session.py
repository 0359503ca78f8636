"""Where episodes begin: no answer depends on what was served before it, whatever the client says or leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from kvlab.serve.served import Served, shorter_turn
from kvlab.serve.session import Answer, Moment, Session

PROMPT = "pick up the black bowl"
HOME = (0.0, 0.1, 1.2)


def moment(hand, scene: int = 0, prompt: str = PROMPT, **more) -> Moment:
    """What a client sends with the hand (m) there; `scene` says which frames."""
    rng = np.random.default_rng([scene, *(int(1e3 * (x + 1)) for x in hand)])
    frames = {camera: rng.integers(0, 255, (32, 32, 3), np.uint8) for camera in ("agentview", "wrist")}
    return Moment(prompt, frames, np.array([*hand, 3.1, 0.1, 0, 0.02, -0.02]), **more)


def way(start, end, replans: int) -> list[tuple[float, ...]]:
    return [tuple(row) for row in np.linspace(start, end, replans)]


OUT = way(HOME, (0.3, 0.1, 1.2), 7)  # 5 cm from one request to the next
BACK = way((0.3, 0.1, 1.2), HOME, 9)[1:]


def episode(scene: int, hands=OUT, **more) -> list[Moment]:
    return [moment(hand, scene, **more) for hand in hands]


def answers(served: Served, moments: list[Moment]) -> list[Answer]:
    session = Session(served)
    return [session.answer(one) for one in moments]


def bits(found: list[Answer]) -> list[tuple]:
    return [(one.actions.tobytes(), one.replan.reused, one.replan.age, one.number) for one in found]


# Gates and modes that keep something of every kind: the cache, the chunk, the path, the first words, single tokens.
SETTINGS = [
    "full when every(3)",
    "prefix when always",
    "text_fixed:skip when always",
    "chunk when always execute=3",
    "full when curvature < 3",
    "full when gripper < 100 & age < 4",
    "tokens:skip when always",
    "full when vision@previous >= -1",
]


@pytest.fixture(params=SETTINGS)
def served(request, serve_setting) -> Served:
    return serve_setting(request.param)


@pytest.fixture
def always(serve_setting) -> Served:
    return serve_setting("full when always")


def began(found: list[Answer]) -> list[str | None]:
    return [one.began for one in found]


def test_two_episodes_over_one_connection_are_those_of_two(served):
    """The simulator puts the hand back at once, as LIBERO's does."""
    first, second = episode(0), episode(1)
    together = answers(served, first + second)
    assert bits(together) == bits(answers(served, first)) + bits(answers(served, second))
    assert began(together) == ["first", *[None] * 6, "jump", *[None] * 6]
    assert any(one.replan.reused for one in together[7:])


def test_also_of_a_client_whose_hand_returns_slowly(served):
    """The same words, and never a jump: the robot drives back while it asks, and somebody moves the bowl."""
    first, second = episode(0, OUT + BACK), episode(1)
    together = answers(served, first + second)
    assert bits(together[-7:]) == bits(answers(served, second))
    assert began(together)[len(OUT + BACK) - 1 :] == ["return", "return", *[None] * 6]
    assert any(one.replan.reused for one in together[-7:])


def test_the_guess_is_what_keeps_the_old_episode_out(served, monkeypatch):
    """Without it the answers of the second episode are others: so the two tests above can fail."""
    first, second = episode(0, OUT + BACK), episode(1)
    monkeypatch.setattr("kvlab.serve.session.HOME", -1.0)
    assert bits(answers(served, first + second)[-7:]) != bits(answers(served, second))


def test_another_prompt_begins_an_episode(always):
    found = answers(always, [moment(OUT[2]), moment(OUT[3]), moment(OUT[4], prompt="close the drawer")])
    assert began(found) == ["first", None, "prompt"] and not found[2].replan.reused


def test_who_marks_episodes_is_believed(always):
    """Then neither a jump nor a return is taken for more than it is."""
    there = [moment(HOME, begins=True), *(moment(hand, begins=False) for hand in (HOME, OUT[-1], HOME))]
    found = answers(always, [*there, moment(HOME, begins=True)])
    assert began(found) == ["asked", None, None, None, "asked"]
    assert [one.replan.reused for one in found] == [False, True, True, True, False]


def test_a_jump_is_further_than_the_executed_actions_reach(serve_setting):
    hands = [HOME, (0.09, 0.1, 1.2), (0.2, 0.1, 1.2)]
    assert began(answers(serve_setting("full when always"), episode(0, hands))) == ["first", None, "jump"]
    assert began(answers(serve_setting("full when always execute=8"), episode(0, hands))) == ["first", None, None]


def test_a_state_that_says_nothing_of_the_hand_is_never_guessed_from(always, monkeypatch):
    monkeypatch.setattr(Served, "is_libero", False)
    found = answers(always, [*episode(0, OUT[:3]), *episode(0, OUT[3:5], begins=False)])
    assert began(found) == ["first", "unmarked", "unmarked", None, None]
    assert [one.replan.reused for one in found] == [False, False, False, True, True]


def test_a_seed_is_that_of_the_noise(always):
    (one,), (same,), (other,) = (answers(always, [moment(HOME, seed=(1, 2, n))]) for n in (3, 3, 4))
    assert bits([one]) == bits([same]) != bits([other])


def test_after_a_mistake_the_next_request_begins_an_episode(always):
    session = Session(always)
    session.answer(moment(OUT[2]))
    with pytest.raises(ValueError, match="the state should be an array of 8 numbers"):
        session.answer(replace(moment(OUT[2]), state=np.zeros(7)))
    assert session.answer(moment(OUT[3])).began is None  # nothing had been done with it
    with pytest.raises(ValueError, match="tokens; this model takes at most 24"):
        session.answer(moment(OUT[3], prompt="bowl " * 100))
    found = session.answer(moment(OUT[4]))
    assert found.began == "first" and not found.replan.reused


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": 3}, "the prompt should be text of 1 to 2000 characters, got int"),
        ({"prompt": "  "}, "the prompt should be text of 1 to 2000 characters, got 2 characters"),
        ({"prompt": "a" * 2001}, "got 2001 characters"),
        ({"state": np.full(8, np.nan)}, "the state should be finite, but number 0 is not"),
        ({"state": np.zeros(7)}, r"the state should be an array of 8 numbers, got float64 of shape \(7,\)"),
        ({"state": np.zeros((1, 8))}, r"got float64 of shape \(1, 8\)"),
        ({"state": [0.0] * 8}, "the state should be an array of 8 numbers, got list"),
        ({"frames": {"agentview": 3}}, "the frame of the camera agentview should be uint8 of shape"),
        ({"frames": {"agentview": np.zeros((32, 32, 3))}}, r"got float64 of shape \(32, 32, 3\)"),
        ({"frames": {"agentview": np.zeros((3, 32, 32), np.uint8)}}, r"got uint8 of shape \(3, 32, 32\)"),
        ({"frames": {"agentview": np.zeros((32, 5000, 3), np.uint8)}}, "8 to 4096 pixels a side"),
    ],
)
def test_what_is_no_observation_is_named(always, changes, says):
    right = moment(HOME)
    changes = changes | ({"frames": right.frames | changes["frames"]} if "frames" in changes else {})
    with pytest.raises(ValueError, match=says):
        Session(always).answer(replace(right, **changes))


def test_frames_and_turns_are_those_that_the_policy_knows(always):
    """openpi's client turns frames by 180 degrees, kvlab's see them upright; raw ones are upside down."""
    raw = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    assert (always.frames({"agentview": raw[::-1, ::-1], "wrist": raw})["agentview"] == raw[::-1]).all()
    sent = np.array([0.1, 0.2, 1.0, 0.0, 3.5, 0.0, 0.02, -0.02])
    assert np.allclose(always.state(sent)[3:6], [0, 3.5 - 2 * np.pi, 0])
    short = np.array([0.3, -3.0, 0.2], np.float32)
    assert shorter_turn(short).tobytes() == short.tobytes()


def test_published_policies_see_what_openpis_client_sends(always):
    published = replace(always, policy=replace(always.policy, trained_on={"format": "openpi"}))
    frame = np.random.default_rng(0).integers(0, 255, (9, 9, 3), np.uint8)
    sent = np.array([0.1, 0.2, 1.0, 0.0, 3.5, 0.0, 0.02, -0.02])
    assert (published.frames({"agentview": frame, "wrist": frame})["wrist"] == frame).all()
    assert (published.state(sent) == sent.astype(np.float32)).all()


def test_what_a_server_cannot_serve_is_said(serve_setting):
    with pytest.raises(ValueError, match="leave `seeing black` out"):
        serve_setting("none seeing black")
    with pytest.raises(ValueError, match="9 actions are to be executed, but a chunk has 8"):
        serve_setting("none execute=9")


def test_connections_share_an_engine_and_nothing_of_each_other(serve_setting):
    """Its buffers are the same for all; interleaved, each is answered as alone."""
    from kvlab.pi0.engine import accelerate  # after Triton was told to interpret

    served = serve_setting("prefix when every(2)")
    served = replace(served, policy=accelerate(served.policy))
    episodes = [episode(scene, OUT[:3]) for scene in (0, 1)]
    alone = [bits(answers(served, one)) for one in episodes]
    sessions = [Session(served) for _ in episodes]
    found = [[], []]
    for pair in zip(*episodes, strict=True):
        for session, one, mine in zip(sessions, pair, found, strict=True):
            mine.append(session.answer(one))
    assert [bits(mine) for mine in found] == alone
