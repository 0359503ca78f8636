"""Runs in the environment of openpi's client: observations come by stdin, what the client answers goes to stdout.

Both as the client's own msgpack, after four bytes that say how long it is.
"""

import struct
import sys

from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def send(message: dict) -> None:
    frame = msgpack_numpy.packb(message)
    sys.stdout.buffer.write(struct.pack("<I", len(frame)) + frame)
    sys.stdout.buffer.flush()


policy = WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]))
send(policy.get_server_metadata())
while length := sys.stdin.buffer.read(4):
    observation = msgpack_numpy.unpackb(sys.stdin.buffer.read(*struct.unpack("<I", length)))
    try:
        send(policy.infer(observation))
    except RuntimeError as error:
        send({"error": str(error)})
