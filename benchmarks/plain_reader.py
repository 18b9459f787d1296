"""A program: PORT; a server that reads and does nothing with it, as fast as Python can: what is left is the sender's work.

It takes one message a connection, looks for the end of the text only at the end of what has come, and prints the seconds
between its 354 and that end.
"""

import socket
import sys
import time

_END = b"\r\n.\r\n"


def _serve(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"220 plain.example.test ESMTP\r\n")
    waiting = b""
    while data := connection.recv(1 << 16):
        *lines, waiting = (waiting + data).split(b"\r\n")
        for line in lines:
            verb = line[:4].upper()
            said = {b"EHLO": b"250-plain.example.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n", b"DATA": b"354 go on\r\n"}
            connection.sendall(said.get(verb, b"250 ok\r\n"))
            if verb == b"DATA":
                begin = time.perf_counter()
                _swallow(connection)
                print(time.perf_counter() - begin, flush=True)
                connection.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                return


def _swallow(connection: socket.socket) -> None:
    buffer = memoryview(bytearray(1 << 20))
    tail = b""
    while tail != _END:
        size = connection.recv_into(buffer)
        if not size:
            raise SystemExit("the text ends without a dot")
        tail = (tail + bytes(buffer[max(0, size - 5) : size]))[-5:]


with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        one, _ = listener.accept()
        with one:
            try:
                _serve(one)
            except ConnectionError:
                pass
