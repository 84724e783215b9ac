"""Substitutes for the process of shadow answers; it imports nothing heavy, as each is spawned."""

import os
import time
from multiprocessing.connection import Connection

N_SAMPLES = 8000


def hanging(connection: Connection, *_: object) -> None:
    connection.send(None)
    time.sleep(600)


def crashing(connection: Connection, *_: object) -> None:
    connection.send(None)
    connection.recv()
    os._exit(1)


def refusing(connection: Connection, *_: object) -> None:
    connection.send(None)
    for reply in ("ValueError: too short", False):
        connection.recv()
        assert len(connection.recv_bytes()) == 4 * N_SAMPLES
        connection.send(reply)
    connection.poll(600)
