"""What a person can do about a host that does not let us in."""

from smartrelay.smtp.dialogue import Answer, Phase, Trouble

_BY_TROUBLE: dict[Trouble, str] = {
    Trouble.NO_HOST: "is the name right? if so, look at this machine's DNS",
    Trouble.NO_ROUTE: "are host and port right, and does the server run? a firewall may refuse it too",
    Trouble.NO_NETWORK: "this machine has no way there: look at its network",
    Trouble.NO_ROOM: "close programs on this machine, or raise its limits",
    Trouble.LOST: "the server hung up: a port for TLS from the first octet wants smtps://",
    Trouble.PROTOCOL: "is that a mail server? a port for TLS from the first octet wants smtps://",
    Trouble.LOOP: "let a rule send mail for this domain somewhere else",
    Trouble.NO_TLS: "use the port that has TLS, mostly 587, or 465 with smtps://",
    Trouble.TLS: "STARTTLS is smtp+tls://, mostly at port 587; TLS from the first octet is smtps://, mostly at 465",
    Trouble.NO_MECHANISM: "is this the port for signing in? mostly it is 587, and the sign-in is offered under TLS only",
}

_BY_TIMEOUT: dict[Phase, str] = {
    Phase.LOOKUP: "look at this machine's DNS",
    Phase.CONNECT: "a firewall may drop it: many networks let nobody out to port 25; try 587",
    Phase.GREETING: "a port for TLS from the first octet wants smtps://; else the server is overloaded",
    Phase.TLS: "a port for STARTTLS wants smtp+tls://; else the server is overloaded",
}

_BY_REFUSAL: dict[Phase, str] = {
    Phase.GREETING: "ask whose server it is: this machine's address may be on a list of those that send spam",
    Phase.EHLO: "is hostname right? ask whose server it is",
    Phase.STARTTLS: "ask whose server it is: it offers TLS and refuses it",
    Phase.AUTH: "look at user and secret in auth; some providers want a password for programs only",
}


def remedy(answer: Answer) -> str:
    """What to do, in the words that fit best."""
    if answer.trouble is Trouble.CERTIFICATE:
        return _for_certificate(answer.text.lower())
    if answer.trouble is Trouble.TIMEOUT:
        return _BY_TIMEOUT.get(answer.phase, "the server is slow or overloaded: try --timeout 1m")
    if answer.trouble is not None:
        return _BY_TROUBLE.get(answer.trouble, "")
    if answer.kind == 4:
        return "the server cannot just now: try later"
    return _BY_REFUSAL.get(answer.phase, "")


def _for_certificate(text: str) -> str:
    if "expired" in text or "not yet valid" in text:
        return "whose server it is has to renew it; or is this machine's clock wrong?"
    if "mismatch" in text or "not valid for" in text:
        return "name the host in the relay URL as its certificate does; is it the right server?"
    return "is it the right server? if so, name the authority that vouches for it in ca_file"
