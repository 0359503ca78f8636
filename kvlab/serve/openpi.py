"""openpi's protocol (`src/openpi/serving/websocket_policy_server.py`): the server greets, then answers observations.

Its client sends LIBERO's observations (`examples/libero/main.py`) and knows no reset. Where clients have keys for that
they are taken as they are: FLASH's `__reset_policy_state__` and `__executed_steps__`, vLLM-Omni's `session_id` and
`{"endpoint": "reset"}`. A `seed`, a list of whole numbers, is that of the noise of an episode that begins.
"""

import time
from collections.abc import Callable

from kvlab.serve.served import Served
from kvlab.serve.session import Answer, Moment, Session
from kvlab.serve.wire import pack, unpack

STATE, PROMPT = "observation/state", "prompt"
RESET, EXECUTED, SESSION, SEED = "__reset_policy_state__", "__executed_steps__", "session_id", "seed"


class Openpi:
    """One connection's side of the protocol. `note` takes each answer and its prompt."""

    goes_on = False  # after an error: openpi's client takes a text frame for the end

    def __init__(self, served: Served, note: Callable[[Answer, str], None]):
        self._served, self._session, self._note = served, Session(served), note
        self._marks, self._reset, self._name = False, False, None  # whether, whether now, and how episodes are marked
        self._total_ms = 0.0

    def greeting(self) -> bytes:
        return pack({**self._served.metadata(), "protocol": "openpi"})

    def reply(self, frame: bytes | str, asked: float) -> bytes:
        """The answer to a frame that came at `asked` (`time.perf_counter`). ValueError where it is no observation."""
        waited = time.perf_counter() - asked
        sent = unpack(frame)
        if not isinstance(sent, dict):
            raise ValueError(f"an observation should be a map, got {type(sent).__name__}")
        if sent.get("endpoint") == "reset":
            self._marks = self._reset = True
            return pack({"status": "reset successful"})
        answer = self._session.answer(self._moment(sent))
        self._note(answer, sent[PROMPT])
        timing = {"infer_ms": answer.ms, "wait_ms": waited * 1e3, "prev_total_ms": self._total_ms}
        told = {"policy_timing": {"infer_ms": answer.policy_ms}, "server_timing": timing, "kvlab": answer.told()}
        reply = pack({"actions": answer.actions, **told})
        self._total_ms = (time.perf_counter() - asked) * 1e3
        return reply

    def refusal(self, error: Exception) -> str:
        return str(error)

    def _moment(self, sent: dict) -> Moment:
        keys = self._served.keys
        if missing := [key for key in (*keys.values(), STATE, PROMPT) if key not in sent]:
            raise ValueError(
                f"the observation lacks {', '.join(missing)}; it has {', '.join(sorted(map(str, sent))) or 'nothing'}"
            )
        elapsed, seed = sent.get(EXECUTED), sent.get(SEED)
        if elapsed is not None and not _is_count(elapsed):
            raise ValueError(f"{EXECUTED} should be a whole number from 0 on, got {elapsed!r}")
        if seed is not None and not (isinstance(seed, list) and seed and all(map(_is_count, seed))):
            raise ValueError(f"{SEED} should be a list of whole numbers from 0 on, got {seed!r}")
        return Moment(
            prompt=sent[PROMPT],
            frames={camera: sent[key] for camera, key in keys.items()},
            state=sent[STATE],
            begins=self._begins(sent),
            elapsed=elapsed,
            seed=seed and tuple(seed),
        )

    def _begins(self, sent: dict) -> bool | None:
        """Whether the client says that an episode begins; None as long as it marks none in any of these ways."""
        name = sent.get(SESSION)
        begins = self._reset or bool(sent.get(RESET)) or (SESSION in sent and name != self._name)
        self._marks |= RESET in sent or SESSION in sent
        self._reset, self._name = False, name
        return begins if self._marks else None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
