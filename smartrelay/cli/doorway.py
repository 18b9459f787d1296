"""The submission sockets of a process that makes passes for ever (`flush --every D --listen`), where no unit has them."""

import os
import threading
from typing import Self

from smartrelay import config as configuration
from smartrelay import settings
from smartrelay.cli.caller import Common
from smartrelay.errors import ConfigError
from smartrelay.submit import listening, pipe
from smartrelay.submit.server import Server


class Doorway:
    """Made while the caller is still root, who alone may listen at low ports; served, by the spool's owner, within `with`.

    A broken configuration closes the ports that stand in it, and never the socket of the sendmail command. Raises CannotCreate
    where one cannot be opened.
    """

    def __init__(self, common: Common) -> None:
        self._settings = settings.load(common.config, common.spool)
        try:
            addresses = configuration.load(common.config, common.spool).submit.listen
        except ConfigError:
            addresses = ()
        self._listeners = listening.open_all(self._settings.submit_socket, addresses)
        pipe.load(self._settings.spool)
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        assert self._server is not None
        self._server.run()

    def __enter__(self) -> Self:
        self._server = Server(self._listeners, self._settings, os.getuid(), pipe.reporter(self._settings.log))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.stop()
        self._thread.join()
        for listener in self._listeners:
            listener.close()
        if self._settings.submit_socket:
            try:
                os.unlink(self._settings.submit_socket)
            except OSError:
                pass  # the directory is root's; whoever opens it again takes it away
