"""Questions and answers between Isaac's Python and SALUS's: one line of JSON each, over a socket pair.

Isaac's Python has no pydantic and, in 5.1, is older than the language that SALUS is written in. So the contract's YAML
is read, and what a seed draws is drawn, by SALUS's own Python, which answers here.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from salus_vla.contract.errors import SalusError, SimulatorError

Answer = Callable[[Mapping[str, Any]], Any]


class Channel:
    """The asking end."""

    def __init__(self, connection: socket.socket) -> None:
        """Takes over the socket."""
        self._connection = connection
        self._lines = connection.makefile("r", encoding="utf-8")

    def ask(self, question: str, **values: Any) -> Any:
        """The answer to a question.

        Raises:
            SimulatorError: what the other end refused, or that it has gone.
        """
        try:
            self._connection.sendall(json.dumps({"question": question, **values}).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise SimulatorError(f"isaac_sim, which started this process, is gone ({error})") from error
        if not line:
            raise SimulatorError("isaac_sim, which started this process, is gone")
        answer = json.loads(line)
        if "error" in answer:
            raise SimulatorError(answer["error"])
        return answer["answer"]

    @property
    def alone(self) -> bool:
        """True once the other end has gone, however it ended."""
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


def serve(connection: socket.socket, answers: Mapping[str, Answer]) -> None:
    """Answers questions until the other end closes; what an answer refuses with a SalusError becomes the asker's error.

    Args:
        connection: the answering end.
        answers: question -> what makes its answer from the values.
    """
    with connection.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            values = json.loads(line)
            try:
                reply = {"answer": answers[values.pop("question")](values)}
            except SalusError as error:
                reply = {"error": str(error)}
            try:
                connection.sendall(json.dumps(reply).encode() + b"\n")
            except OSError:
                return  # the asker has gone without waiting
