"""Exim as a smart host: it relays only for those who signed in over TLS, and keeps what it got for tests to read."""

import base64
import os
import shutil
import subprocess

from tests.support import debian
from tests.support.certificates import Certificate
from tests.support.process import NOBODY, ServerProcess

CONFIGURATION = """\
primary_hostname = {name}
exim_user = {uid}
exim_group = {gid}
never_users =
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path =
log_selector = +all
keep_environment =
timezone = UTC
host_lookup =
rfc1413_hosts =
message_size_limit = 100M
# Deliveries stay in the process and under the user that it has; a second exec would lose the library path.
deliver_drop_privilege
# messages() runs the queue itself, so that nothing has to be waited for.
queue_only
tls_advertise_hosts = *
tls_certificate = {folder}/server.crt
tls_privatekey = {folder}/server.key
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
acl_smtp_mail = check_mail
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept

begin acl
# Who is called bad is refused, who is called late is put off.
check_mail:
  deny  condition      = ${{if match{{$sender_address}}{{^bad}}}}
        message        = sender refused
  defer condition      = ${{if match{{$sender_address}}{{^late}}}}
  accept

check_rcpt:
  deny  !encrypted     = *
         message       = encryption required
  deny  !authenticated = *
         message       = relay not permitted
  deny  local_parts    = ^bad
        message        = no such user
  defer local_parts    = ^late
  accept

begin routers
all:
  driver = accept
  transport = keep

begin transports
keep:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  batch_max = 1000
  envelope_to_add
  return_path_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{${{base64:$auth2}}}}{{{user}}}}}{{eq{{${{base64:$auth3}}}}{{{password}}}}}}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{eq{{${{base64:$auth1}}}}{{{user}}}}}{{eq{{${{base64:$auth2}}}}{{{password}}}}}}}}}
  server_set_id = $auth1
"""


class EximServer(ServerProcess):
    """A running Exim that shows `certificate` and knows one user; with `implicit_tls` it speaks TLS from the start."""

    def __init__(
        self,
        certificate: Certificate,
        user: str = "me",
        password: str = "secret: \\ $1 \"é'",
        *,
        implicit_tls: bool = False,
    ) -> None:
        super().__init__()
        self.user, self.password = user, password
        uid, gid = (NOBODY, NOBODY) if os.getuid() == 0 else (os.getuid(), os.getgid())
        os.chmod(self.folder, 0o711)
        shutil.copy(certificate.cert_file, f"{self.folder}/server.crt")
        shutil.copy(certificate.key_file, f"{self.folder}/server.key")
        for name in ("spool", "log", "mail"):
            os.mkdir(f"{self.folder}/{name}", 0o700)
        for name in ("spool", "log", "mail", "server.crt", "server.key"):
            os.chown(f"{self.folder}/{name}", uid, gid)
        name = f"exim-{os.path.basename(self.folder).rpartition('-')[2].replace('_', 'x')}.example.test"
        self._environment = debian.environment("exim", self.folder, users={"Debian-exim": (uid, gid)})
        self._exim = [debian.program("exim", "usr/sbin/exim4"), "-C", f"{self.folder}/exim.conf"]
        with open(f"{self.folder}/exim.conf", "w", encoding="utf-8") as file:
            file.write(
                CONFIGURATION.format(
                    name=name, uid=uid, gid=gid, folder=self.folder, user=_base64(user), password=_base64(password)
                )
            )
        os.chmod(f"{self.folder}/exim.conf", 0o644)
        tls = ["-tls-on-connect"] if implicit_tls else []
        self.run(
            lambda port: [*self._exim, "-bdf", *tls, "-oX", f"[127.0.0.1]:{port}"],
            greeting=name.encode(),
            environment=self._environment,
            implicit_tls=implicit_tls,
        )

    def messages(self) -> list[bytes]:
        """All mail received, in order of arrival, LF line ends; Return-path, Envelope-to and Received are on top."""
        subprocess.run([*self._exim, "-qff"], env=self._environment, check=True, capture_output=True, timeout=60)
        folder = f"{self.folder}/mail/new"
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        found = []
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                found.append(file.read())
        return found

    def log(self) -> str:
        """Exim's main log: connections, sign-ins, TLS, arrivals and refusals."""
        path = f"{self.folder}/log/mainlog"
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
