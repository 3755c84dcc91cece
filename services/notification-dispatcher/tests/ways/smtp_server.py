"""A mail server for tests: tells its port, then one line of JSON per mail that it took."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def arguments():
    return dict(argument.split("=", 1) for argument in sys.argv[1:])


class Handler:
    def __init__(self, refusals):
        self.refusals = refusals

    async def handle_DATA(self, server, session, envelope):
        if self.refusals:
            return self.refusals.pop(0)
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "tls": session.ssl is not None,
                    "user": (session.auth_data or b"").decode() if isinstance(session.auth_data, bytes) else None,
                    "data": envelope.content.decode("utf-8", "replace"),
                }
            ),
            flush=True,
        )
        return "250 2.0.0 kept"


def authenticator(server, session, envelope, mechanism, data):
    good = data.login == b"lictor" and data.password == b"s3cret"
    if good:
        session.auth_data = data.login
    return AuthResult(success=good, handled=good)


async def main():
    options = arguments()
    context = None
    if "certificate" in options:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])
    refusals = [text for text in options.get("refuse", "").split("|") if text]
    implicit = options.get("mode") == "tls"
    more = {}
    if options.get("auth"):
        more = {"authenticator": authenticator, "auth_required": True, "auth_require_tls": True}
    if options.get("mode") == "starttls":
        more |= {"tls_context": context, "require_starttls": True}
    handler = Handler(refusals)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, enable_SMTPUTF8=True, hostname="mail.test", **more),
        "127.0.0.1",
        0,
        ssl=context if implicit else None,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
