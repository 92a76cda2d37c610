"""What a worker of an export does: episodes with options come in, what is to be written of them goes out."""

from __future__ import annotations

from multiprocessing.connection import Connection

from salus_vla.data.lerobot.prepare import LeftOut, Prepared, prepare


def work(connection: Connection) -> None:
    """Works until the other side closes the connection, which is an EOFError."""
    while True:
        episode, options = connection.recv()
        result: Prepared | LeftOut | Exception
        try:
            result = prepare(episode, options)
        except Exception as error:  # raised again where the episode is asked for
            result = error
        connection.send(result)
