"""A mail server on aiosmtpd. Usage: mailbox.py PORT FILE; prints `listening on` when it is ready.

Each mail is a line of FILE, as JSON, before it is taken, and outlives the server. Mail is taken after a login as `tollbook`
with the password `canary-of-the-mail` alone.
"""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Mailbox:
    def __init__(self, file):
        self.file = file

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
    return AuthResult(success=isinstance(data, LoginPassword) and data == known)


async def main(port, file):
    def speak():
        return SMTP(Mailbox(file), authenticator=login, auth_required=True, auth_require_tls=False)

    server = await asyncio.get_running_loop().create_server(speak, "127.0.0.1", port)
    print(f"listening on 127.0.0.1:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
