"""A person who logs an MCP client in on the Python SDK: see login.mjs, its twin, for the form of LOGIN.

The browser is browser.mjs; LOGIN has the command for it as "browser".
"""

import json
import subprocess
from urllib.parse import parse_qs, urlparse

from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

REDIRECT = "http://127.0.0.1:1/callback"


class Person:
    """The SDK's storage, in memory, and its browser."""

    def __init__(self, login: dict, server: str):
        self._login = login
        self._tokens: OAuthToken | None = None
        self._client: OAuthClientInformationFull | None = None
        self._seen: dict = {}
        metadata = {
            "client_name": "A <scripted> client",
            "redirect_uris": [REDIRECT],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        if "id" in login:
            self._client = OAuthClientInformationFull(client_id=login["id"], **metadata)
        self.auth = OAuthClientProvider(
            server, OAuthClientMetadata(**metadata), self, self._browse, self._answer, client_metadata_url=login.get("document")
        )

    async def get_tokens(self):
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken):
        self._tokens = tokens

    async def get_client_info(self):
        return self._client

    async def set_client_info(self, client: OAuthClientInformationFull):
        self._client = client

    async def _browse(self, url: str):
        command = [*self._login["browser"], url, REDIRECT, self._login["person"], self._login.get("answer", "allow")]
        self._seen = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    async def _answer(self):
        answer = {name: values[0] for name, values in parse_qs(urlparse(self._seen["url"]).query).items()}
        return AuthorizationCodeResult(**{name: answer.get(name) for name in ("code", "state", "iss")})

    def told(self) -> dict | None:
        """What to tell of a login, once."""
        if not (pages := self._seen.pop("pages", None)):
            return None
        tokens = self._tokens
        return {"client": self._client.client_id, "pages": pages, "access": tokens.access_token, "refresh": tokens.refresh_token}

    def spoil(self):
        """Loses the access token, as time does: the SDK knows when it has."""
        self.auth.context.token_expiry_time = 1
