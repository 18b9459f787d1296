"""Who may touch the spool, and where it is made.

The spool belongs to one uid. Root becomes that uid before it opens anything below; the owner goes straight in; anybody
else is told no. So a root process never follows a path that an unprivileged user controls with root's rights, and root and
the service user never leave files behind that the other cannot use.

On the enqueue path: `posix` only; `pwd` and the making of a spool are paid for when they are needed.
"""

import posix

from smartrelay.errors import ConfigError, NotTheOwner, SpoolError
from smartrelay.spool.durable import DIRECTORY_MODE

FORMAT = b"1\n"
_IS_DIRECTORY = 0o040000


def enter(spool: str, *, direct: bool, make: bool = True, for_good: bool = True) -> None:
    """Makes this process the owner of the spool, and (unless not to `make` it) the spool if it is missing.

    direct: the caller named the spool itself (`--spool`, environment, a configuration of its own), so that one that is
    missing may be made. for_good: root cannot come back; otherwise `leave` undoes it. Raises NotTheOwner for somebody else's
    spool, ConfigError for what is no spool or one of a newer format, CannotCreate.
    """
    posix.umask(0o077)
    uid = posix.geteuid()
    try:
        status = posix.stat(spool)
    except FileNotFoundError:
        if not make:
            raise ConfigError(f"there is no spool at {spool}") from None
        if uid and not direct:
            raise NotTheOwner(f"there is no spool at {spool} yet; root makes it with `smartrelay setup`") from None
        from smartrelay.spool.making import make as make_spool

        make_spool(spool, uid)
        status = posix.stat(spool)
    except OSError as error:
        raise SpoolError(f"cannot reach the spool {spool}: {error.strerror}") from error
    if status.st_mode & 0o170000 != _IS_DIRECTORY:
        raise ConfigError(f"the spool {spool} is not a directory; set `spool` to a directory of its own")
    if status.st_uid != uid:
        if uid:
            raise NotTheOwner(f"the spool {spool} belongs to {user(status.st_uid)}, not to {user(uid)}")
        _load_what_a_new_spool_needs(spool)
        become(status.st_uid, status.st_gid, for_good=for_good)
    _check_format(spool)
    if status.st_mode & 0o077:
        posix.chmod(spool, DIRECTORY_MODE)


def changes_owner(spool: str) -> bool:
    """Whether `enter` may turn this process, which is root's, into another user's."""
    try:
        return posix.stat(spool).st_uid != 0
    except OSError:
        return True


def become(uid: int, gid: int, *, for_good: bool = True) -> None:
    """Gives up root, for a uid that needs its own files only and so no supplementary group."""
    posix.setgroups([gid])
    if for_good:
        posix.setgid(gid)
        posix.setuid(uid)
    else:
        posix.setegid(gid)
        posix.seteuid(uid)


def leave(groups: list[int]) -> None:
    """Undoes an `enter` that was not for good. groups: the supplementary groups from before."""
    if not posix.getuid():
        posix.seteuid(0)
        posix.setegid(posix.getgid())
        posix.setgroups(groups)


def _load_what_a_new_spool_needs(spool: str) -> None:
    """The interpreter may lie where only root can read it: what is needed afterwards is imported before."""
    try:
        posix.stat(f"{spool}/format")
    except FileNotFoundError:
        import smartrelay.spool.making  # noqa: F401


def user(uid: int) -> str:
    """A user as a person knows them."""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def _check_format(spool: str) -> None:
    try:
        descriptor = posix.open(f"{spool}/format", posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        from smartrelay.spool.making import furnish

        furnish(spool, FORMAT)
        return
    except OSError as error:
        raise SpoolError(f"cannot read {spool}/format: {error.strerror}") from error
    try:
        found = posix.read(descriptor, 64)
    finally:
        posix.close(descriptor)
    if found != FORMAT:
        shown = ascii(found.decode("ascii", "replace").strip())
        raise ConfigError(
            f"the spool {spool} has format {shown}, this version of smartrelay reads {FORMAT.decode().strip()}; "
            "upgrade smartrelay, or name another spool"
        )
