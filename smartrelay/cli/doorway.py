"""The submission sockets of a process that makes passes for ever (`flush --every D --listen`), where no unit has them."""

import _socket
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from smartrelay import config as configuration
from smartrelay import settings
from smartrelay.cli.caller import Common
from smartrelay.errors import ConfigError
from smartrelay.submit import listening, pipe
from smartrelay.submit.server import Server


def opened(common: Common) -> AbstractContextManager[None]:
    """The sockets, open from now on: the caller may still be root, who alone may listen at low ports. They are served by the
    spool's owner, within the context.

    A broken configuration closes the ports that stand in it, and never the socket of the sendmail command. Raises CannotCreate
    where one cannot be opened.
    """
    found = settings.load(common.config, common.spool)
    try:
        addresses = configuration.load(common.config, common.spool).submit.listen
    except ConfigError:
        addresses = ()
    listeners = listening.open_all(found.submit_socket, addresses)
    pipe.load(found.spool)
    return _served(listeners, found)


@contextmanager
def _served(listeners: list[_socket.socket], found: settings.Settings) -> Iterator[None]:
    server = Server(listeners, found, os.getuid(), pipe.reporter(found.log))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()
        for listener in listeners:
            listener.close()
        if found.submit_socket:
            with suppress(OSError):  # the directory is root's; whoever opens it again takes it away
                os.unlink(found.submit_socket)
