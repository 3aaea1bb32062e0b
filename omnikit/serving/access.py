"""Who may use the server: API keys, web pages of other origins, and how often."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from omnikit.serving.protocol.fields import ProtocolError
from omnikit.serving.settings import Settings

SUBPROTOCOL_KEY = "openai-insecure-api-key."  # how browsers send a key, which cannot set headers of a WebSocket
MOST_CLIENTS = 10_000  # whose rates are remembered


class Access:
    """Owns the rates of the clients."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def check(self, headers: Mapping[str, str], address: str, *, needs_key: bool) -> str:
        """Give a name of the client, for its rate.

        Raises:
            ProtocolError: no or a wrong key (401), a web page of another origin (403), or too many requests (429).
        """
        self._check_origin(headers)
        key = given_key(headers)
        known = self._is_key(key)
        if needs_key and self._settings.keys and not known:
            raise ProtocolError("The API key is missing or wrong; send one of the server's as Authorization: Bearer KEY.",
                                "invalid_api_key", kind="authentication_error", status=401)
        return key if known and key else address

    def count(self, client: str) -> None:
        """Count a request of a client; raises ProtocolError (429) where it has made too many."""
        bucket = self._buckets.pop(client, None) or Bucket(self._settings.limits.requests_per_minute / 60,
                                                           self._settings.limits.requests_per_minute, self._clock)
        self._buckets[client] = bucket
        while len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if bucket.take() > 0:
            raise ProtocolError(f"More than {self._settings.limits.requests_per_minute} requests a minute came from this"
                                " client; wait a moment.", "rate_limit_exceeded", kind="rate_limit_error", status=429)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse other web pages: a browser would send them what only its user may see."""
        origin = headers.get("origin")
        if origin is None or origin in self._settings.origins or "*" in self._settings.origins:
            return
        if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise ProtocolError(f"The page {origin[:80]} may not use this server; start it with --origin {origin[:80]}.",
                                "origin_not_allowed", kind="permission_error", status=403)

    def _is_key(self, given: str | None) -> bool:
        data = (given or "").encode()
        found = [hmac.compare_digest(key.encode(), data) for key in self._settings.keys]  # all of them, whatever comes first
        return any(found)


class Bucket:
    """Counts how often something happens; up to `most` at once, then `rate` a second."""

    def __init__(self, rate: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.most, self._clock = rate, most, clock
        self._level, self._at = most, clock()

    def take(self) -> float:
        """Take one; gives the seconds until there is one, 0 where it was there."""
        now = self._clock()
        self._level, self._at = min(self.most, self._level + (now - self._at) * self.rate), now
        if self._level >= 1:
            self._level -= 1
            return 0.0
        return (1 - self._level) / self.rate


def given_key(headers: Mapping[str, str]) -> str | None:
    """Give the API key of a request: Authorization: Bearer KEY, or the subprotocol that browsers use."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip()
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    return next((name.removeprefix(SUBPROTOCOL_KEY) for name in offered if name.startswith(SUBPROTOCOL_KEY)), None)
