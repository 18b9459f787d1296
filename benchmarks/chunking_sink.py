"""The tests' own server with CHUNKING, as a process of its own."""

import os
import sys
import threading

from benchmarks.process import plain_environment
from tests.support.chunking_server import ChunkingServer
from tests.support.process import ServerProcess

_TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class ChunkingSink(ServerProcess):
    """A running one."""

    greeting = "chunks.example.test"

    def __init__(self) -> None:
        super().__init__()
        environment = {**plain_environment(), "PYTHONPATH": _TOP}
        command = [sys.executable, "-m", "benchmarks.chunking_sink"]
        self.run(lambda port: [*command, str(port)], greeting=self.greeting.encode(), environment=environment)


if __name__ == "__main__":
    with ChunkingServer(port=int(sys.argv[1])):
        threading.Event().wait()
