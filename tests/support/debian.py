"""Programs of Debian packages, unpacked into a private folder and never installed.

Debian's mail transfer agents conflict with one another and take over /usr/sbin/sendmail, so each has a root of its own,
together with the libraries that this machine lacks. Their programs look up users that only installing would make:
`environment` gives them a passwd file that has them, by nss_wrapper.
"""

import glob
import os
import re
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("SMARTRELAY_TEST_CACHE") or os.path.join(ROOT, ".cache", "debian")

# The roots that tests and benchmarks use, and the packages in each.
ROOTS = {
    "callers": (
        *("anacron", "at", "bsd-mailx", "cron", "logwatch", "mailutils", "mailutils-common", "mdadm", "monit", "mutt"),
        *("procmail", "s-nail", "smartmontools", "sudo", "vacation"),
        *("libemail-sender-perl", "libmime-lite-perl", "libphp-phpmailer", "php-cli", "php-symfony-mailer"),
    ),
    "clients": ("swaks", "git-email", "libmailtools-perl"),
    "dma": ("dma",),
    "exim": ("exim4-daemon-light", "libnss-wrapper"),
    "logs": ("pflogsumm", "libdate-calc-perl"),
    "monitoring": ("monitoring-plugins-standard", "monitoring-plugins-common"),
    "msmtp": ("msmtp",),
    "nsd": ("nsd",),
    "nullmailer": ("nullmailer",),
    "opensmtpd": ("opensmtpd",),
    "opensmtpd-7": ("opensmtpd", "libc6"),
    "postfix": ("postfix", "libnss-wrapper"),
    "shells": ("bash-completion", "zsh", "zsh-common", "fish", "fish-common"),
    "unbound": ("unbound",),
}

FOR_TESTS = ("callers", "clients", "exim", "logs", "monitoring", "nsd", "opensmtpd-7", "postfix", "shells", "unbound")
"""Fetched beforehand; the others are the benchmarks' rivals, and fetched when one runs."""

# Those that are not taken from this machine's release, with libraries from this one down to libc: OpenSMTPD before 7 cannot
# do a TLS hand-shake with OpenSSL 3 as a server.
RELEASES = {"opensmtpd-7": "trixie"}


def root(name: str) -> str:
    """The folder with the unpacked packages of `name`; they are fetched when it is not there yet."""
    path = os.path.join(CACHE, name)
    if not os.path.isdir(path):
        os.makedirs(CACHE, exist_ok=True)
        # Under a name of its own until it is whole: several test processes may do this at once, and one may be killed.
        unfinished = tempfile.mkdtemp(prefix=f"{name}.", dir=CACHE)
        os.chmod(unfinished, 0o755)
        try:
            with tempfile.TemporaryDirectory() as lists:
                options = _of_release(RELEASES[name], lists) if name in RELEASES else []
                _unpack(_with_missing_libraries(ROOTS[name], options), unfinished, options)
            os.rename(unfinished, path)
        except OSError:
            if not os.path.isdir(path):
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return path


def program(name: str, relative: str) -> str:
    """The path of a program in the root `name`, such as `usr/sbin/smtp-sink` in `postfix`."""
    return os.path.join(root(name), relative)


def environment(name: str, folder: str, users: dict[str, tuple[int, int]] | None = None) -> dict[str, str]:
    """What a program of the root `name` needs around it: its libraries, and `users`, known from files in `folder`."""
    top = root(name)
    libraries = [
        *glob.glob(f"{top}/usr/lib/*-linux-gnu*"),
        *glob.glob(f"{top}/lib/*-linux-gnu*"),
        f"{top}/usr/lib/{name}",
    ]
    variables = {**os.environ, "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": ":".join(libraries)}
    if users:
        (wrapper,) = glob.glob(f"{top}/usr/lib/*/libnss_wrapper.so")
        lines = {"passwd": "{user}:x:{uid}:{gid}::/nonexistent:/usr/sbin/nologin\n", "group": "{user}:x:{gid}:\n"}
        for database, line in lines.items():
            path = os.path.join(folder, database)
            with open(f"/etc/{database}", encoding="utf-8") as known, open(path, "w", encoding="utf-8") as file:
                # Ours come first: who looks up an id gets the private name.
                file.writelines(line.format(user=user, uid=uid, gid=gid) for user, (uid, gid) in users.items())
                file.write(known.read())
            os.chmod(path, 0o644)
            variables[f"NSS_WRAPPER_{database.upper()}"] = path
        variables["LD_PRELOAD"] = wrapper
    return variables


def is_installed(package: str) -> bool:
    """Whether dpkg has the package in working order."""
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}\n", package]
    return "installed" in subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()


def _of_release(release: str, folder: str) -> list[str]:
    """What tells apt to use this Debian release, from where this machine has its own; its lists are in `folder`."""
    wanted = ["Created-By: Packages", "Label: Debian", "Component: main"]
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *wanted]
    mirrors = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    if not mirrors:
        raise RuntimeError(f"apt knows no Debian mirror on this machine to take packages of {release} from")
    with open(f"{folder}/sources.list", "w", encoding="utf-8") as file:
        file.write(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirrors[0]} {release} main\n")
    for path in ("lists/partial", "cache/archives/partial"):
        os.makedirs(f"{folder}/{path}")
    places = {
        "Dir::Etc::SourceList": f"{folder}/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": f"{folder}/lists",
        "Dir::Cache": f"{folder}/cache",
        "APT::Sandbox::User": _user_name(),
    }
    options = [word for name, value in places.items() for word in ("-o", f"{name}={value}")]
    subprocess.run(["apt-get", "-q", *options, "update"], check=True, stdout=subprocess.DEVNULL)
    return options


def _with_missing_libraries(packages: tuple[str, ...], options: list[str]) -> list[str]:
    """The packages, and each library below them (those of PHP have its name) that is not on this machine."""
    wanted: list[str] = []
    waiting = list(packages)
    while waiting:
        wanted += waiting
        command = ["apt-cache", *options, "depends", "--important", *waiting]
        listing = subprocess.run(command, capture_output=True, text=True, check=True)
        below = set(re.findall(r"^[ |]*(?:Pre)?Depends: ((?:lib|php)[^\s:]+)", listing.stdout, re.MULTILINE))
        waiting = [package for package in sorted(below.difference(wanted)) if not is_installed(package)]
    return wanted


def _unpack(packages: list[str], folder: str, options: list[str]) -> None:
    with tempfile.TemporaryDirectory() as downloads:
        # As the user who runs this: apt's own sandbox user can't write into a private folder, and complains.
        download = ["apt-get", "-q", *options, "-o", f"APT::Sandbox::User={_user_name()}", "download", *packages]
        subprocess.run(download, cwd=downloads, check=True, stdout=subprocess.DEVNULL)
        for archive in sorted(glob.glob(f"{downloads}/*.deb")):
            subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)


def _user_name() -> str:
    return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
