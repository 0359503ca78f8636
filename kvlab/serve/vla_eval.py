"""vla-evaluation-harness' protocol, version 1 (`vla_eval/protocol`): the client greets, and is given single actions.

It marks its episodes. The chunk is kept here, and the policy is asked anew when its executed actions are given out.
"""

import time
from collections import deque
from collections.abc import Callable

from kvlab.serve.served import Served
from kvlab.serve.session import Answer, Moment, Session
from kvlab.serve.wire import pack, unpack

VERSION = 1
FIELDS = ("type", "payload", "seq", "timestamp")
IGNORED = ("episode_end", "error")  # nothing is to be answered
# Frames of both cameras and the state as openpi's client has it: robosuite's orientation, of up to a whole turn.
PARAMETERS = {"send_wrist_image": True, "send_state": True, "quat_no_antipodal": True}
# Names of `vla_eval/specs.py`.
ACTION_SPEC = {
    "position": {"name": "position", "dims": 3, "format": "delta_xyz", "range": [-1, 1]},
    "rotation": {"name": "rotation", "dims": 3, "format": "axis_angle", "range": [-3.15, 3.15]},
    "gripper": {"name": "gripper", "dims": 1, "format": "binary_close_positive", "range": [-1, 1]},
}
IMAGE_SPEC = {"name": "image", "dims": 0, "format": "rgb_hwc_uint8"}
STATE_SPEC = {"name": "state", "dims": 8, "format": "eef_pos3_axisangle3_gripper2"}
LANGUAGE_SPEC = {"name": "language", "dims": 0, "format": "language"}


class VlaEval:
    """One connection's side of the protocol. `note` takes each answer and its prompt."""

    goes_on = True  # after an error

    def __init__(self, served: Served, note: Callable[[Answer, str], None]):
        if not served.is_libero:
            raise ValueError("the harness sends LIBERO's observations, this policy takes others: serve it by openpi")
        self._served, self._session, self._note = served, Session(served), note
        self._begins, self._seed, self._seq = True, None, 0
        self._actions: deque = deque()  # of the chunk, those that are to be executed
        self._told: dict[str, object] = {}

    def greeting(self) -> None:
        return None

    def reply(self, frame: bytes | str, asked: float) -> bytes | None:
        """The answer to a frame; `asked` is not told. ValueError where the frame is none of the protocol."""
        message = unpack(frame)
        if not isinstance(message, dict) or not {*FIELDS} <= message.keys() or not isinstance(message["payload"], dict):
            raise ValueError(f"a message should be a map of {', '.join(FIELDS)}, the payload a map too")
        kind, payload, self._seq = message["type"], message["payload"], message["seq"]
        if kind == "hello":
            return self._message("hello", self._hello())
        if kind == "episode_start":
            return self._start(payload.get("task"))
        if kind == "observation":
            return self._message("action", self._act(payload))
        if kind in IGNORED:
            return None
        raise ValueError(f"unknown type of message {kind!r}: there are hello, observation, episode_start, episode_end")

    def refusal(self, error: Exception) -> bytes:
        return self._message("error", {"error": str(error)})

    def _message(self, kind: str, payload: dict) -> bytes:
        whole = {"type": kind, "payload": payload, "seq": self._seq, "timestamp": time.time()}
        return pack(whole, keys=str)

    def _hello(self) -> dict[str, object]:
        told = self._served.metadata()
        return {
            "harness_version": told["server"],
            "protocol_version": VERSION,
            "model_server": told["server"],
            "capabilities": {},
            "observation_params": PARAMETERS,
            "action_spec": ACTION_SPEC,
            "observation_spec": {
                **dict.fromkeys(self._served.policy.config.cameras, IMAGE_SPEC),
                "state": STATE_SPEC,
                "language": LANGUAGE_SPEC,
            },
            "kvlab": {**told, "protocol": "vla-eval"},
        }

    def _start(self, task: object) -> None:
        """Of an episode of LIBERO the noise is that of `kvlab run`."""
        named = task if isinstance(task, dict) else {}
        trial = (named.get("task_id"), named.get("episode_idx"))
        self._seed = (*trial, 0) if all(type(n) is int and n >= 0 for n in trial) else None
        self._begins = True

    def _act(self, payload: dict) -> dict[str, object]:
        if self._begins or not self._actions:
            answer = self._session.answer(self._moment(payload))
            self._note(answer, payload["task_description"])
            self._actions = deque(answer.actions[: answer.replan.executed])
            self._begins, self._told = False, answer.told()
        return {"actions": self._actions.popleft(), "kvlab": self._told}

    def _moment(self, payload: dict) -> Moment:
        images, cameras = payload.get("images"), self._served.policy.config.cameras
        wanted = [f"images.{camera}" for camera in cameras if not isinstance(images, dict) or camera not in images]
        wanted += [name for name in ("states", "task_description") if name not in payload]
        if wanted:
            there = ", ".join(sorted(map(str, payload)))
            raise ValueError(f"the observation lacks {', '.join(wanted)}; it has {there}")
        return Moment(payload["task_description"], images, payload["states"], begins=self._begins, seed=self._seed)
