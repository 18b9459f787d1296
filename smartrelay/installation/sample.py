"""The configuration that setup begins with: all comment, but for what differs from the defaults on this machine."""

from smartrelay.installation.places import Places

_TEXT = """\
# smartrelay's configuration: smartrelay.toml(5). What is commented out is the default or an example.
# Until a [[relay]] is set mail is queued and kept: nothing is sent anywhere.

#hostname = "host.example.org"          # the name in EHLO and Message-ID; default: this host's own
#domain = "example.org"                 # completes local names; default: the domain of hostname
#postmaster = "you@example.org"         # gets the mail of local names, such as root (cron's), that have no alias
#aliases = "/etc/aliases"               # who gets the mail of local names
@SPOOL@
#max_message_size = "50M"
#max_recipients = 10000
#min_free_space = "100M"                # a fuller disk takes no more mail
@STATUS@

#[[relay]]                              # the first that matches wins
#name = "work"
#sender = ["*@example.org"]             # which senders; absent: any
#recipient = ["*"]                      # which recipients; absent: any
#hosts = ["smtp+tls://smtp.example.org:587"]   # tried in order
#auth = { user = "me", secret = "file:@DIRECTORY@/work.secret" }
#rate = "500/h"                         # at most; the rest waits for its turn

#[[relay]]
#name = "direct"
#hosts = ["mx"]                         # the mail exchangers of each recipient's domain

#[submit]
#from = { "root" = "alerts@example.org" }   # whom mail of this host is from
#listen = ["127.0.0.1:25"]              # SMTP for programs on this host, by `flush --every 1m --listen`

#[queue]
#retry = ["1m", "5m", "15m", "30m", "1h", "2h", "3h"]   # the last repeats

#[alert]                                # mail cannot tell of its own failure
#command = ["/usr/local/bin/page", "ops"]   # run once when it begins, once when it is over
#after = "4h"                           # mail that waits for longer is stuck

#[limits]
#max_connections = 20                   # at once, over all next hops
#max_connections_per_host = 20
#max_messages_per_connection = 100
"""


def configuration(places: Places) -> bytes:
    """The text for this installation. The spool is written out unless every program finds it without."""
    spool = f'spool = "{places.spool}"'
    if places.default_spool:
        spool = "#" + spool
    # counts and ages, for `smartrelay health`: every program finds its usual place
    status = f'status_file = "{places.runtime}/status.json"'
    if places.default_config or places.user:
        status = "#" + status.replace(places.runtime, "$XDG_RUNTIME_DIR/smartrelay" if places.user else places.runtime)
    text = _TEXT.replace("@STATUS@", status)
    return text.replace("@SPOOL@", spool).replace("@DIRECTORY@", places.config.rpartition("/")[0]).encode()
