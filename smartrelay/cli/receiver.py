"""A receiving SMTP server for the demonstration: takes one message after the other, and shows them."""

import socketserver
import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Received:
    """A message as the server got it."""

    sender: str
    recipients: list[str]
    lines: list[bytes] = field(default_factory=list)


class Receiver(socketserver.ThreadingTCPServer):
    """Listens on a free port of the loopback interface."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.received: list[Received] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Session(socketserver.StreamRequestHandler):
    server: Receiver
    current: Received | None = None

    def handle(self) -> None:
        self._say("220 demo.invalid ESMTP")
        while line := self.rfile.readline(4096):
            text = line.decode("utf-8", "replace").strip()
            verb = text.partition(" ")[0].upper()
            if verb == "EHLO":
                self._say("250-demo.invalid", "250-PIPELINING", "250-8BITMIME", "250 SIZE 52428800")
            elif verb == "MAIL":
                self.current = Received(text.partition(":")[2].partition(" ")[0], [])
                self._say("250 2.1.0 sender ok")
            elif verb == "RCPT" and self.current:
                self.current.recipients.append(text.partition(":")[2].partition(" ")[0])
                self._say("250 2.1.5 recipient ok")
            elif verb == "DATA" and self.current and self.current.recipients:
                self._data(self.current)
            elif verb == "QUIT":
                self._say("221 2.0.0 bye")
                return
            else:
                self._say("250 2.0.0 ok" if verb in ("RSET", "NOOP", "HELO") else "500 5.5.2 not understood")

    def _data(self, message: Received) -> None:
        self._say("354 go on, end with a lone dot")
        while (line := self.rfile.readline(1 << 20)) not in (b".\r\n", b""):
            message.lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        self.server.received.append(message)
        self.current = None
        self._say("250 2.0.0 taken, thank you")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))
