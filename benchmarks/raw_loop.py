"""The floor that relaying is compared with: PORT COUNT FILE; sends the file so often from memory, over one connection.

No library between it and the socket: the next envelope rides behind each final dot. The file is ready for the wire, with
its dot. It prints the seconds from connecting to the last reply.
"""

import socket
import sys
import time

_ENVELOPE = b"MAIL FROM:<sender@bench.example.test>\r\nRCPT TO:<user@dest.example.test>\r\nDATA\r\n"


def main() -> None:
    """The program."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    with open(sys.argv[3], "rb") as file:
        message = file.read()
    following = message + _ENVELOPE if count > 1 else b""
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as replies:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def expect(code: bytes) -> None:
            while (line := replies.readline())[3:4] == b"-":
                pass
            if not line.startswith(code):
                raise SystemExit(f"the server said {line!r}")

        expect(b"220")
        connection.sendall(b"EHLO bench.example.test\r\n")
        expect(b"250")
        connection.sendall(_ENVELOPE)
        for left in range(count - 1, -1, -1):
            expect(b"250")
            expect(b"250")
            expect(b"354")
            connection.sendall(following if left else message)
            expect(b"250")
        connection.sendall(b"QUIT\r\n")
        replies.readline()
    print(time.perf_counter() - begin)


main()
