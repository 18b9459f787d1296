"""Signing in: one try with the strongest mechanism that both sides have (RFC 4954)."""

from smartrelay.mail.status import printable
from smartrelay.smtp import sasl
from smartrelay.smtp.dialogue import LONGEST_LINE, Answer, Phase, Reply, Trouble
from smartrelay.smtp.wire import Wire

_NOT_THIS_ONE = (504, 534)
"""Replies that refuse a mechanism and not the password: the next mechanism may be tried."""


def sign_in(wire: Wire, offered: str, account: sasl.Account, *, mechanism: str = "auto", certificate: bool = False) -> Answer:
    """Signs in. offered: the server's AUTH line after TLS. A password that was refused is not tried again in another form:
    that would only lock the account. Raises SessionBroken."""
    names = sasl.choose(offered, mechanism, certificate=certificate, secret=bool(account.secret))
    if not names:
        text = f"no usable sign-in; the server offers {offered or 'none'}"
        return Answer(Phase.AUTH, trouble=Trouble.NO_MECHANISM, text=text)
    answer = Answer(Phase.AUTH)
    wire.hide(account.secret, printable(account.secret), sasl.encoded(account.secret.encode()).decode())
    for name in names:
        answer = _exchange(wire, name, sasl.MECHANISMS[name](account))
        if answer.reply is None or answer.reply.code not in _NOT_THIS_ONE:
            break
    return answer


def _exchange(wire: Wire, name: str, exchange: sasl.Mechanism) -> Answer:
    line = f"AUTH {name}".encode()
    initial = exchange.initial()
    if initial is not None:
        response = sasl.encoded(initial, initial=True)
        wire.hide(response.decode())
        if len(line) + len(response) + 3 <= sasl.LONGEST_COMMAND:
            line, initial = line + b" " + response, None
    answer = wire.command(Phase.AUTH, line + b"\r\n")
    while answer.kind == 3 and answer.reply is not None:
        try:
            response = _response(exchange, answer.reply, initial)
        except sasl.Refused as error:
            wire.command(Phase.AUTH, b"*\r\n")
            return Answer(Phase.AUTH, trouble=Trouble.PROTOCOL, text=f"{name} sign-in was cancelled: {error}")
        initial = None
        encoded = sasl.encoded(response)
        wire.hide(encoded.decode())
        answer = wire.command(Phase.AUTH, encoded + b"\r\n")
    if answer.good and not exchange.satisfied:
        return Answer(
            Phase.AUTH, trouble=Trouble.PROTOCOL, text=f"the server ended {name} without proving that it knows the password"
        )
    return answer


def _response(exchange: sasl.Mechanism, reply: Reply, initial: bytes | None) -> bytes:
    challenge = sasl.decoded(reply.lines[0]) if reply.lines else b""
    if challenge is None or len(reply.lines[0]) >= LONGEST_LINE:
        raise sasl.Refused("the server's challenge is no base64, or too long")
    return exchange.respond(challenge) if initial is None else initial
