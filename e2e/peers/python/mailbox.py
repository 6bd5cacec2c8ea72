"""A mail server on aiosmtpd. Usage: mailbox.py PORT FILE [FOLDER]; prints `listening on` when it is ready.

Each mail is a line of FILE, as JSON, before it is taken, and outlives the server. Mail is taken after a login as `tollbook`
with the password `canary-of-the-mail` alone; with FOLDER, after STARTTLS with its `cert.pem` and `key.pem`. For `nobody@` it takes
none, and none for `busy@` while there is a file `FILE.busy`.
"""

import asyncio
import email
import email.policy
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Mailbox:
    def __init__(self, file):
        self.file = file

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 there is nobody"
        if address.startswith("busy@") and os.path.exists(f"{self.file}.busy"):
            return "450 come again"
        envelope.rcpt_tos.append(address)
        return "250 fine"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name: str(value) for name, value in mail.items()},
            "text": mail.get_content(),
        }
        with open(self.file, "a", encoding="utf-8") as out:
            out.write(json.dumps(told) + "\n")
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    known = LoginPassword(b"tollbook", b"canary-of-the-mail")
    return AuthResult(success=isinstance(data, LoginPassword) and data == known, handled=False)


def secure(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return {"tls_context": context, "require_starttls": True}


async def main(port, file, folder=None):
    settings = secure(folder) if folder else {"auth_require_tls": False}

    def speak():
        return SMTP(Mailbox(file), authenticator=login, auth_required=True, **settings)

    server = await asyncio.get_running_loop().create_server(speak, "127.0.0.1", port)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
