"""What the system itself tells by mail: jobs, disks, logs. All of it comes with next to nothing in the environment."""

import os
import re
import shutil

from tests.callers.system import JOE, System
from tests.e2e.commands import HOSTNAME
from tests.support import debian
from tests.support.sink import SmtpSink

DAEMON = 1  # the user whose the queue of at is, on any Debian
ROOT, BOTH = ["root@a.example"], {("root@a.example", 0), ("joe@a.example", JOE)}
JOB = "echo out; echo .; echo ..x; id -un"


def crontab(system: System, user: str, line: str) -> None:
    """A crontab of the user's own. cron runs at once what is to be run `@reboot`."""
    folder = f"{system.own}/var/spool/cron/crontabs"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{user}", "w", encoding="utf-8") as file:
        file.write(line)
    os.chown(file.name, JOE if user == "joe" else 0, 0)
    os.chmod(file.name, 0o600)


def test_cron_mails_what_a_job_prints_to_whose_it_is(system: System) -> None:  # D-122
    for user in ("root", "joe"):
        crontab(system, user, f"@reboot {JOB}\n")
    with system.start_daemon("cron", "-f"):
        sent = system.sent(2)
    assert {(each.sender, each.envelope.uid) for each in sent} == BOTH
    for each in sent:
        assert each.recipients == [each.sender]
        user = each.sender.partition("@")[0]
        assert each.body == f"out\n.\n..x\n{user}\n".encode()
        assert each.field("Subject") == f"Cron <{user}@client> {JOB}"
        assert each.field("From").endswith("(Cron Daemon)")


def test_crons_mail_arrives(system: System, smtp_sink: SmtpSink) -> None:  # D-122
    crontab(system, "joe", f"MAILTO=you@b.example\n@reboot {JOB}\n")
    system.relay_to(smtp_sink)
    with system.start_daemon("cron", "-f"):
        system.sent()
        system.flush()
    (mail,) = smtp_sink.messages()
    assert mail.mail_from.startswith("<joe@a.example>")
    assert mail.recipients == ["<you@b.example>"]
    assert mail.content.endswith(b"\n\nout\n.\n..x\njoe\n")
    assert system.ids() == []


def test_atd_mails_what_a_job_prints(system: System) -> None:  # D-126
    spool = f"{system.own}/var/spool/cron"
    shutil.copytree(debian.program("callers", "var/spool/cron"), spool)
    with open(f"{spool}/atjobs/.SEQ", "w", encoding="ascii"):
        pass
    for path in ("atjobs", "atspool", "atjobs/.SEQ"):
        os.chown(f"{spool}/{path}", DAEMON, DAEMON)
    for user in ("root", "joe"):
        # it warns that no atd is there to be told of it: that comes next
        assert system.run_inside("at", "now", text=f"{JOB}\n".encode(), user=user).code == 0
    with system.start_daemon("atd", "-f", "-b", "1"):
        sent = system.sent(2)
    assert {(each.sender, each.envelope.uid) for each in sent} == BOTH
    for each in sent:
        assert each.recipients == [each.sender]
        assert each.body == f"out\n.\n..x\n{each.sender.partition('@')[0]}\n".encode()


def test_anacron(system: System) -> None:  # D-125
    os.mkdir(f"{system.own}/var/spool/anacron")
    jobs = system.write("anacrontab.ours", "SHELL=/bin/sh\n1 0 job echo out; echo ..x\n")
    assert system.run_inside("anacron", "-d", "-f", "-n", "-t", jobs).code == 0
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == (ROOT[0], ROOT)
    assert sent.field("Subject") == f"Anacron job 'job' on {HOSTNAME}"
    assert sent.field("From").startswith("Anacron <root")
    assert sent.body == b"out\n..x\n"


def test_mdadm(system: System) -> None:  # D-128
    """It tells that it can: the array need not be there for a test."""
    os.mkdir(f"{system.own}/run/mdadm")
    system.call("mdadm", "--monitor", "--test", "--oneshot", "--mail", "root", "/dev/md127")
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == (ROOT[0], ROOT)
    assert sent.field("From") == f"mdadm monitoring <root@{HOSTNAME}>"
    assert sent.field("Subject") == f"TestMessage event on /dev/md127:{HOSTNAME}"
    assert b"\nA TestMessage event had been detected on md device /dev/md127.\n" in sent.body


def test_smartd(system: System) -> None:  # D-133
    """What smartd runs for its test mail: its warning script, and by that Debian's runner, and by that mail."""
    told = {
        "ADDRESS": "root",
        "MAILER": "/usr/share/smartmontools/smartd-runner",
        "DEVICE": "/dev/sda",
        "DEVICEINFO": "QEMU HARDDISK, 42.9 GB",
        "DEVICESTRING": "/dev/sda",
        "DEVICETYPE": "sat",
        "FAILTYPE": "EmailTest",
        "MESSAGE": "TEST EMAIL from smartd for device: /dev/sda",
        "PREVCNT": "0",
        "TFIRST": "Thu Jan  1 00:00:00 2026 UTC",
        "TFIRSTEPOCH": "1767225600",
    }
    variables = [f"SMARTD_{name}={value}" for name, value in told.items()]
    system.call("env", "-i", *variables, "/usr/share/smartmontools/smartd_warning.sh")
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == (ROOT[0], ROOT)
    assert sent.field("Subject") == "SMART error (EmailTest) detected on host: client"
    assert b"\nTEST EMAIL from smartd for device: /dev/sda\n" in sent.body


def test_logwatch(system: System) -> None:  # D-135
    """With a service of its own: what the others tell depends on the machine."""
    os.mkdir(f"{system.own}/var/cache/logwatch")
    system.write("logwatch/conf/services/ours.conf", 'Title = "Ours"\nLogFile = NONE\n')
    system.write("logwatch/scripts/services/ours", 'print "Grüße\\n..x\\n";\n')
    system.call("logwatch", "--output", "mail", "--mailto", "root", "--service", "ours", "--range", "all")
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == (ROOT[0], ROOT)
    assert sent.field("Subject") == f"Logwatch for {HOSTNAME} (Linux)"
    assert "\n Grüße\n ..x\n" in sent.content


def test_monit(system: System) -> None:  # D-137
    """It speaks SMTP to a port of ours, and tells that it has begun."""
    os.mkdir(f"{system.own}/var/lib/monit")
    state = "set idfile /var/lib/monit/id\nset statefile /var/lib/monit/state\n"
    alert = f"set daemon 30\nset mailserver 127.0.0.1 port {system.port}\nset alert you@b.example\n"
    with system.start_daemon("monit", "-I", "-c", system.write("monitrc.ours", alert + state, 0o600)):
        (sent,) = system.sent()
    assert (sent.sender, sent.recipients) == (f"monit@{HOSTNAME}", ["you@b.example"])
    assert sent.field("Subject") == f"monit alert --  Monit instance changed {HOSTNAME}"
    assert re.match(rb"Received: from \S+ \(\[127\.0\.0\.1\]\) \(userid 0\)\n", sent.text)


def test_sudo(system: System) -> None:  # D-143
    """It tells of joe, who may not. Debian's does so as joe, who must not be able to stop it by his environment."""
    system.write("sudoers", "Defaults mailto=you@b.example, !authenticate\n", 0o440)
    assert system.run_inside("sudo", "-n", "true", user="joe").code == 1
    (sent,) = system.sent()
    assert (sent.sender, sent.recipients, sent.envelope.uid) == ("joe@a.example", ["you@b.example"], JOE)
    assert sent.field("Subject") == f"*** SECURITY information for {HOSTNAME} ***"
    assert b" joe : user NOT in sudoers ; " in sent.body
