"""A root of its own for a rival with compiled-in paths: this machine's /usr with the unpacked package laid over it, and the
package's own /etc and /var. It is mounted only in the mount namespace of each command, and goes with it."""

import os
import shutil

from tests.support import debian

# $0 is the root, $1 the layers of /usr, $2 those of /usr/lib, the rest is the command.
_ENTER = """\
set -e
root=$0 usr=$1 lib=$2
shift 2
mount -t overlay overlay -o "lowerdir=$usr" "$root/usr"
mount -t overlay overlay -o "lowerdir=$lib" "$root/usr/lib"
mount --rbind /proc "$root/proc"
for device in null zero full random urandom; do mount --bind /dev/$device "$root/dev/$device"; done
exec /usr/sbin/chroot "$root" "$@"
"""
_FROM_HERE = ("group", "ld.so.cache", "localtime", "nsswitch.conf", "passwd", "protocols", "services")


class PrivateRoot:
    """The root in `folder` for the package `name`; users: those that installing it would make, with ids nobody has."""

    def __init__(self, folder: str, name: str, users: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self._package = debian.root(name)
        os.mkdir(folder, 0o755)
        for path, mode in (("usr", 0o755), ("proc", 0o755), ("dev", 0o755), ("run", 0o755), ("root", 0o700), ("tmp", 0o1777)):
            os.mkdir(f"{folder}/{path}")
            os.chmod(f"{folder}/{path}", mode)
        for path in ("bin", "sbin", "lib", "lib64"):
            os.symlink(f"usr/{path}", f"{folder}/{path}")
        for device in ("null", "zero", "full", "random", "urandom"):
            self.write(f"dev/{device}", "")
        for path in ("etc", "var"):
            if os.path.isdir(f"{self._package}/{path}"):
                shutil.copytree(f"{self._package}/{path}", f"{folder}/{path}", symlinks=True)
            else:
                os.mkdir(f"{folder}/{path}", 0o755)
        os.symlink("/run", f"{folder}/var/run")
        for path in _FROM_HERE:
            if os.path.exists(f"/etc/{path}"):
                shutil.copy(f"/etc/{path}", f"{folder}/etc/{path}")
        self.write("etc/hosts", "127.0.0.1 localhost bench.example.test\n")
        self.ids = {user: 64_910 + number for number, user in enumerate(users)}
        for user, number in self.ids.items():
            self.write("etc/passwd", f"{user}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n", more=True)
            self.write("etc/group", f"{user}:x:{number}:\n", more=True)

    def write(self, path: str, text: str, *, more: bool = False) -> str:
        """Writes a file of the root, or more of it; returns its path outside."""
        outside = f"{self.folder}/{path}"
        os.makedirs(os.path.dirname(outside), exist_ok=True)
        with open(outside, "a" if more else "w", encoding="utf-8") as file:
            file.write(text)
        return outside

    def command(self, *words: str) -> list[str]:
        """A command that runs inside."""
        layers = f"{self._package}/usr:/usr"
        libraries = [f"{self._package}/{each}" for each in ("lib", "usr/lib") if os.path.isdir(f"{self._package}/{each}")]
        enter = ["/bin/sh", "-c", _ENTER, self.folder, layers, ":".join([*libraries, "/usr/lib"]), *words]
        return ["/usr/bin/unshare", "--mount", "--propagation", "private", *enter]

    def remove(self) -> None:
        """Removes all of it; nothing is mounted there outside of its commands."""
        shutil.rmtree(self.folder)
