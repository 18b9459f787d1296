"""A host of its own for a newcomer: this machine's whole file system with a layer over it that is thrown away, and a cable to a
world that has the servers of the README and nothing else.

    with Host(folder, certificates, {}) as host:
        server = host.smart_host()
        result = host.type('echo "Subject: hello" | sendmail -v you@example.org')

Names and ports are those of the README: each name has an address of its own, and what listens there is a real server of the
test's, opened in that world. All of it is in namespaces of this machine: nothing leaves it.
"""

import ctypes
import os
import pty
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Self, TypeVar

from tests.e2e.commands import Result, Running
from tests.readme.posting import PostingServer
from tests.support.certificates import Certificates
from tests.support.dns_server import DnsServer
from tests.support.smtp_server import ScriptedServer

HOSTNAME = "web1.example.org"
ADDRESSES = {
    "smtp.example.org": "192.0.2.1",
    "backup.example.org": "192.0.2.2",
    "ntfy.example.org": "192.0.2.3",
    "mx.example.org": "192.0.2.25",
    "dns.example.org": "192.0.2.53",
}
JOE = 65533
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = f"{sys.base_prefix}/bin"
OPT = "/opt/smartrelay"
SYSTEMCTL = "/run/systemctl.log"

_CLONE_NEWNET = 0x40000000
_RECORD = f'#!/bin/sh\necho "$*" >>{SYSTEMCTL}\n'

Server = TypeVar("Server", bound=AbstractContextManager[Any])


class Host:
    """binds: folders of ours by their place in the host."""

    def __init__(self, folder: str, certificates: Certificates, binds: Mapping[str, str]) -> None:
        self.folder, self._certificate = folder, certificates.server
        self._all = ExitStack()
        for name in ("root", "layer"):
            os.makedirs(f"{folder}/{name}")
        try:
            self._world = self._hold(["unshare", "--net"], "ip link set lo up; echo ready; exec cat")
            script = "; ".join([*self._mounts(binds), *self._network()])
            enter = ["unshare", "--mount", "--uts", "--net", "--propagation", "private"]
            self._holder = self._hold(enter, f"{script}; exec chroot {folder}/root /bin/sh -c 'echo ready; exec cat'")
        except BaseException:
            self._all.close()
            raise
        self.environment = {"PATH": PATH, "LANG": "C.UTF-8", "TERM": "dumb", "HOME": "/root", "USER": "root", "LOGNAME": "root"}
        self.typed: list[str] = []
        self._furnish(certificates)

    def _hold(self, enter: list[str], script: str) -> subprocess.Popen[bytes]:
        """A process that keeps namespaces as the script makes them, until it is told to end."""
        command = [*enter, "/bin/sh", "-ec", script]
        holder = self._all.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert holder.stdin is not None and holder.stdout is not None
        self._all.callback(holder.stdin.close)
        assert holder.stdout.readline() == b"ready\n", "the host cannot be made"
        return holder

    def _network(self) -> Iterator[str]:
        """A cable to the world, which has all the names."""
        yield f"echo {HOSTNAME.partition('.')[0]} >/proc/sys/kernel/hostname"
        yield "ip link set lo up"
        yield f"ip link add eth0 type veth peer name eth0 netns {self._world.pid}"
        far = [f"ip address add {address}/24 dev eth0" for address in ADDRESSES.values()]
        yield _words("nsenter", f"--target={self._world.pid}", "--net", "sh", "-ec", "; ".join([*far, "ip link set eth0 up"]))
        yield "ip address add 192.0.2.100/24 dev eth0"
        yield "ip link set eth0 up"
        yield f"ip route add default via {ADDRESSES['smtp.example.org']}"

    def _mounts(self, binds: Mapping[str, str]) -> Iterator[str]:
        root, layer = f"{self.folder}/root", f"{self.folder}/layer"
        yield _words("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", layer)
        yield _words("mkdir", "-p", f"{layer}/upper", f"{layer}/work")
        options = f"lowerdir=/,upperdir={layer}/upper,workdir={layer}/work"
        yield _words("mount", "-t", "overlay", "-o", options, "overlay", root)
        for path in ("proc", "sys", "dev"):
            yield _words("mount", "--rbind", f"/{path}", f"{root}/{path}")
        for path, mode in (("run", "755"), ("tmp", "1777")):
            yield _words("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", f"{root}/{path}")
        # what lies on another file system than / is not in the overlay
        for path in (sys.base_prefix, CHECKOUT):
            yield f"test -e {root}{path} || mkdir -p {root}{path}"
            yield _words("mount", "--bind", path, f"{root}{path}")
            for end in [end for end, letter in enumerate(path) if letter == "/"][1:]:
                yield _words("chmod", "o+x", f"{root}{path[:end]}")
        for place, path in binds.items():
            yield _words("mkdir", "-p", f"{root}{place}")
            yield _words("mount", "--bind", path, f"{root}{place}")

    def _furnish(self, certificates: Certificates) -> None:
        """What every host has: names, users, a trusted authority, and a systemd whose commands are only written down."""
        names = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items() if not name.startswith("mx."))
        self.write("/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {HOSTNAME} {HOSTNAME.partition('.')[0]}\n{names}")
        self.write("/etc/resolv.conf", f"nameserver {ADDRESSES['dns.example.org']}\n")
        self.write("/etc/passwd", f"joe:x:{JOE}:{JOE}:Joe Doe,,,:/home/joe:/bin/sh\n", more=True)
        self.write("/etc/group", f"joe:x:{JOE}:\n", more=True)
        self.write("/etc/shadow", "joe:*:19000:0:99999:7:::\n", more=True)
        os.makedirs(self.path("/home/joe"), exist_ok=True)
        os.chown(self.path("/home/joe"), JOE, JOE)
        with open(certificates.ca_file, encoding="ascii") as file:
            authority = file.read()
        told = ["openssl", "x509", "-noout", "-hash", "-in", certificates.ca_file]
        digest = subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
        self.write(f"/etc/ssl/certs/{digest}.0", authority)
        self.write("/etc/ssl/certs/ca-certificates.crt", authority, more=True)
        os.makedirs(self.path("/run/systemd/system"))
        self.write(SYSTEMCTL, "", 0o666)
        self.write("/usr/local/sbin/systemctl", _RECORD, 0o755)

    # Files.

    def path(self, path: str) -> str:
        """Where a file of the host is for us."""
        return f"/proc/{self._holder.pid}/root{path}"

    def write(self, path: str, text: str, mode: int = 0o644, *, more: bool = False, owner: int = 0) -> None:
        """Writes a file of the host, or more of it."""
        outside = self.path(path)
        os.makedirs(os.path.dirname(outside), exist_ok=True)
        with open(outside, "a" if more else "w", encoding="utf-8") as file:
            file.write(text)
        if not more:
            os.chmod(outside, mode)
            os.chown(outside, owner, owner)

    def read(self, path: str) -> str:
        """A file of the host."""
        with open(self.path(path), encoding="utf-8") as file:
            return file.read()

    # Programs.

    def command(self, *words: str, user: str = "root", folder: str = "/") -> list[str]:
        """A command within the host."""
        enter = ["nsenter", f"--target={self._holder.pid}", "--mount", "--uts", "--net", "--root", f"--wd={self.path(folder)}"]
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user != "root" else []
        return [
            *enter,
            "env",
            *([f"HOME=/home/{user}", f"USER={user}", f"LOGNAME={user}"] if user == "joe" else []),
            *become,
            *words,
        ]

    def start(
        self,
        *words: str,
        text: bytes | int = subprocess.DEVNULL,
        user: str = "root",
        folder: str = "/",
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Starts a program in the host."""
        (program, *arguments) = self.command(*words, user=user, folder=folder)
        return Running([shutil.which(program) or program, *arguments], {**self.environment, **(env or {})}, text, "/")

    def run(self, *words: str, text: bytes | int = b"", user: str = "root", env: Mapping[str, str] | None = None) -> Result:
        """Runs a program in the host to its end."""
        with self.start(*words, text=text, user=user, env=env) as running:
            return running.wait()

    def start_line(
        self, line: str, *, user: str = "root", env: Mapping[str, str] | None = None, folder: str = "/", **values: str
    ) -> Running:
        """Starts a line of the README, as a shell does. values: what stands there in its place, ID for one."""
        self.typed.append(line)
        for name, value in values.items():
            line = line.replace(name, value)
        return self.start("bash", "-c", line, user=user, env=env, folder=folder)

    def type(
        self,
        line: str,
        *,
        code: int = 0,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        folder: str = "/",
        **values: str,
    ) -> Result:
        """Types a line of the README, which must end with `code`."""
        with self.start_line(line, user=user, env=env, folder=folder, **values) as running:
            result = running.wait()
        assert result.code == code, f"{line}: {result}"
        return result

    def answer(self, line: str, answer: bytes, *, user: str = "root") -> bytes:
        """Types a line of the README at a terminal, and then this answer; all that it says."""
        self.typed.append(line)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            self.command("bash", "-c", line, user=user), stdin=theirs, stdout=subprocess.PIPE, env=self.environment
        )
        os.close(theirs)
        os.write(ours, answer)
        output, _ = process.communicate()
        os.close(ours)
        assert process.returncode == 0, output
        return output

    # The network.

    def serve(self, make: Callable[[], Server]) -> Server:
        """Makes a server in the world, where what it opens and its threads stay; it is closed with the host."""
        made: list[Server] = []

        def run() -> None:
            descriptor = os.open(f"/proc/{self._world.pid}/ns/net", os.O_RDONLY)
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            os.close(descriptor)
            made.append(make())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        self._all.enter_context(made[0])
        return made[0]

    def smart_host(self, name: str = "smtp.example.org", *, password: str = "the password", port: int = 587) -> ScriptedServer:
        """A submission server that wants TLS and me with this password."""
        certificate, address, credentials = self._certificate, ADDRESSES[name], ("me", password)
        settings: dict[str, Any] = {"certificate": certificate, "address": address, "credentials": credentials, "port": port}
        return self.serve(lambda: ScriptedServer(implicit_tls=port == 465, **settings))

    def exchanger(self) -> ScriptedServer:
        """The exchanger of example.org, and the DNS server that names it."""
        address = ADDRESSES["mx.example.org"]
        zone = {"example.org": ["MX 10 mx.example.org"], "mx.example.org": [f"A {address}"]}
        self.serve(lambda: DnsServer(zone, address=ADDRESSES["dns.example.org"], port=53))
        return self.serve(lambda: ScriptedServer(address=address, port=25))

    def posting(self) -> PostingServer:
        """An HTTPS server at which things can be posted."""
        return self.serve(lambda: PostingServer(ADDRESSES["ntfy.example.org"], 443, self._certificate))

    def unplug(self, *, back: bool = False) -> None:
        """Takes the network away, or brings it back."""
        up = f"ip link set eth0 up && ip route add default via {ADDRESSES['smtp.example.org']}"
        assert self.run("sh", "-c", up if back else "ip link set eth0 down").code == 0

    # systemd.

    def unit(self, name: str, key: str) -> list[str]:
        """The values of a key in a unit file of the host."""
        lines = self.read(f"/etc/systemd/system/{name}").splitlines()
        return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]

    def start_service(self, name: str) -> Result:
        """What systemd would run for a service, as its user."""
        (line,), (user,) = self.unit(name, "ExecStart"), self.unit(name, "User")
        return self.run(*shlex.split(line), user=user)

    @contextmanager
    def socket(self, name: str) -> Iterator[None]:
        """With a socket unit listening; the service behind it is started by the first who comes."""
        (where,), (line,) = self.unit(f"{name}.socket", "ListenStream"), self.unit(f"{name}.service", "ExecStart")
        (user,) = self.unit(f"{name}.service", "User")
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        with self.start("systemd-socket-activate", f"--listen={where}", *become, *shlex.split(line)) as running:
            running.wait_for_error("Listening on ")
            if where.startswith("/"):
                os.chmod(self.path(where), int(self.unit(f"{name}.socket", "SocketMode")[0], 8))
            yield

    def close(self) -> None:
        """Ends it; nothing is left of it."""
        self._all.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _words(*words: str) -> str:
    return shlex.join(words)
