"""Where is the server, and who asks? One URL for queries and rows: `tidewater://user:password@host:port/schema?tls=on`."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import os
import pathlib
import urllib.parse
from collections.abc import Mapping
from typing import Any

import grpc

from .errors import InvalidRequestError

DEFAULT_PORT = 8815
MAX_MESSAGE_BYTES = 64 << 20
_SCHEMES = ("tidewater", "grpc", "grpc+tls")
_ON, _OFF = ("1", "on", "true", "yes"), ("0", "off", "false", "no")

_PARAMETERS = ("ca", "certificate", "key", "token")
SESSION_OPTIONS = ("schema", "timezone", "statement_timeout_ms", "max_rows", "types")
"""What queries take from the URL besides `timeout`; the server says what they mean."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """What is known of a server before anything is sent to it."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    user: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    token: str | None = dataclasses.field(default=None, repr=False)
    """In place of user and password."""
    schema: str = "public"
    """Of tables that are named without one."""
    tls: bool | None = None
    """None: on, unless the host is this machine."""
    ca: str | None = None
    """File of PEM certificates to trust in place of the well-known authorities."""
    certificate: str | None = None
    """File of the client's own certificate, for a server that asks for one; with `key`."""
    key: str | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Further parameters of the URL, by name."""

    @classmethod
    def parse(cls, url: str | Connection) -> Connection:
        """From a URL, or an address as the command line takes it: `127.0.0.1:8815`.

        `tidewater://[user[:password]@]host[:port][/schema][?tls=on|off&ca=FILE&certificate=FILE&key=FILE&token=TOKEN]`
        """
        if isinstance(url, Connection):
            return url
        try:
            parts = urllib.parse.urlsplit(url if "://" in url else f"tidewater://{url}")
            port = parts.port or DEFAULT_PORT
            given = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            # What Python says of it may be a part of the password.
            parts = None
        if parts is None or parts.fragment:
            raise InvalidRequestError(
                "the URL of the server cannot be read; write tidewater://user:password@host:port, and what is special in these with %"
            )
        if parts.scheme not in _SCHEMES:
            raise InvalidRequestError(f"'{parts.scheme}://' is no scheme of a server; write tidewater://host:port")
        tls = _switch(given.pop("tls", None), True if parts.scheme == "grpc+tls" else None)
        known = {name: given.pop(name) for name in _PARAMETERS if name in given}
        refuse_unknown(given)
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=port,
            user=_unquoted(parts.username),
            password=_unquoted(parts.password),
            schema=_unquoted(parts.path.strip("/")) or "public",
            tls=tls,
            options=given,
            **known,
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Connection:
        """TIDEWATER_SERVER is an address or a URL; TIDEWATER_USER, TIDEWATER_PASSWORD, TIDEWATER_TOKEN and TIDEWATER_CA fill in
        what it does not say. The command line reads the same variables."""
        found = os.environ if environment is None else environment
        connection = cls.parse(found.get("TIDEWATER_SERVER") or f"127.0.0.1:{DEFAULT_PORT}")
        missing: dict[str, Any] = {}
        for name in ("user", "password", "token", "ca"):
            value = found.get(f"TIDEWATER_{name.upper()}")
            if value and getattr(connection, name) is None:
                missing[name] = value
        if "token" in missing and connection.user is not None:
            del missing["token"]
        return dataclasses.replace(connection, **missing)

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequestError("a client's certificate needs its key, and the key the certificate; give both files")
        if self.tls is False and (self.ca or self.certificate):
            raise InvalidRequestError("certificates are given but tls is off; take one of them away")

    @property
    def address(self) -> str:
        """host:port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def uses_tls(self) -> bool:
        """What `tls` says; without a word of it TLS is used for other machines, and where a certificate is named."""
        if self.tls is not None:
            return self.tls
        return bool(self.ca or self.certificate) or not _is_loopback(self.host)

    @property
    def authorization(self) -> str | None:
        """The value of the `authorization` header."""
        if self.token is not None:
            return f"Bearer {self.token}"
        if self.user is None:
            return None
        pair = f"{self.user}:{self.password or ''}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def flight_url(self) -> str:
        """As ADBC takes it, without who asks."""
        return f"{'grpc+tls' if self.uses_tls else 'grpc+tcp'}://{self.address}"

    def pem(self, name: str) -> bytes | None:
        """The bytes of the file `ca`, `certificate` or `key`; None if it is not given."""
        path = getattr(self, name)
        if path is None:
            return None
        try:
            return pathlib.Path(path).read_bytes()
        except OSError as error:
            raise InvalidRequestError(f"{name} cannot be read: {error}") from error

    @property
    def metadata(self) -> list[tuple[str, str]]:
        """What goes with each gRPC call."""
        return [("authorization", self.authorization)] if self.authorization else []

    def channel(self) -> grpc.Channel:
        """A gRPC channel. Calls on it take `metadata` with them."""
        options = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # A server that was started again is found at once, not after minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            # Calls are not repeated below us: numbers decide what may be.
            ("grpc.enable_retries", 0),
            # Two producers of a process do not share one connection's window.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not self.uses_tls:
            return grpc.insecure_channel(self.address, options)
        credentials = grpc.ssl_channel_credentials(self.pem("ca"), self.pem("key"), self.pem("certificate"))
        return grpc.secure_channel(self.address, credentials, options)


def refuse_unknown(options: Mapping[str, str]) -> None:
    """A parameter that nobody reads is a mistake."""
    for name in options:
        if name not in ("timeout", *SESSION_OPTIONS):
            known = ", ".join(["tls", *_PARAMETERS, "timeout", *SESSION_OPTIONS])
            raise InvalidRequestError(f"'{name}' is no parameter of the URL; there are {known}")


def _switch(value: str | None, default: bool | None) -> bool | None:
    if value is None:
        return default
    if value.lower() in _ON + _OFF:
        return value.lower() in _ON
    raise InvalidRequestError(f"tls={value} is neither on nor off; write tls=on or tls=off")


def _unquoted(text: str | None) -> str | None:
    return None if text is None else urllib.parse.unquote(text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
