"""The making of a spool: its directories and the file that says their format."""

import posix
import pwd

from smartrelay.errors import CannotCreate, ConfigError
from smartrelay.spool.durable import DIRECTORY_MODE, FILE_MODE, sync_directory, write_all

DIRECTORIES = ("tmp", "new", "cur", "hold", "corrupt", "state", "var")
SERVICE_USER = "smartrelay"
_OURS = frozenset((*DIRECTORIES, "format", "lock", "hosts.json", "hosts.json.tmp", "hosts.json.bad", "hosts.lock"))


def make(spool: str, uid: int) -> None:
    """A missing spool, 0700; for root it belongs to the service user where that user exists."""
    made = []
    path = spool.rstrip("/")
    try:
        while path and not _exists(path):
            made.append(path)
            path = path.rpartition("/")[0]
        for missing in reversed(made):
            _mkdir(missing)
        if not uid:
            _give_away(spool)
        for missing in made:
            sync_directory(missing.rpartition("/")[0] or ("/" if missing.startswith("/") else "."))
    except OSError as error:
        raise CannotCreate(f"cannot make the spool {spool}: {error.strerror}") from error


def _give_away(spool: str) -> None:
    try:
        user = pwd.getpwnam(SERVICE_USER)
    except KeyError:
        return
    posix.chown(spool, user.pw_uid, user.pw_gid)


def furnish(spool: str, version: bytes) -> None:
    """Completes a spool that is new, empty, or was left half made; `format` comes last and says that all is there."""
    must_be_ours(spool)
    try:
        for name in DIRECTORIES:
            _mkdir(f"{spool}/{name}")
        # before `format` is there: whoever sees that relies on the directories
        sync_directory(spool)
        _write_format(spool, version)
        sync_directory(spool)
    except OSError as error:
        raise CannotCreate(f"cannot make the spool {spool}: {error.strerror}") from error


def must_be_ours(spool: str) -> None:
    """Raises ConfigError for a directory that holds anything else than a spool does."""
    strange = set(posix.listdir(spool)) - _OURS - {"lost+found"}
    if strange:
        raise ConfigError(
            f"{spool} is not a spool of smartrelay: it holds {min(strange)!a}; set `spool` to a directory of its own"
        )


def _write_format(spool: str, version: bytes) -> None:
    draft = f"{spool}/tmp/format.{posix.getpid()}"
    descriptor = posix.open(draft, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, FILE_MODE)
    try:
        try:
            write_all(descriptor, version)
            posix.fsync(descriptor)
        finally:
            posix.close(descriptor)
        posix.rename(draft, f"{spool}/format")
    except OSError:
        posix.unlink(draft)
        raise


def _mkdir(path: str) -> None:
    try:
        posix.mkdir(path, DIRECTORY_MODE)
    except FileExistsError:
        pass


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except FileNotFoundError:
        return False
    return True
