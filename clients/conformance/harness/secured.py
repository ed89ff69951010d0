"""What does a client need for a server with TLS and users? Its address, who issued its certificate, a user with a password, a token."""

import base64
import contextlib
import dataclasses
import json
import pathlib
import re
import ssl
import urllib.request

from .certificates import Authority, Files
from .server import Server
from .stubs import admin, admin_grpc

TIMEOUT_S = 60


@dataclasses.dataclass
class Secured:
    """A server that runs. `ca` is a file; the user may do everything."""

    server: Server
    ca: pathlib.Path
    token: str = ""
    user: str = "admin"
    password: str = "correct horse"

    def set_up(self):
        """The first user, by the link of the log, and a token of theirs."""
        self.server.wait_for_log("setup http")
        (code,) = re.findall(r"^setup https?://\S+/setup\?code=(\S+)$", self.server.log.read_text(), re.MULTILINE)
        body = json.dumps({"code": code, "name": self.user, "password": self.password}).encode()
        request = urllib.request.Request(f"https://{self.server.http}/api/v1/setup", body, {"Content-Type": "application/json"})
        https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            assert answer.status == 201
        basic = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        with self.server.channel() as channel:
            made = admin_grpc.AdminStub(channel).CreateToken(
                admin.CreateTokenRequest(), metadata=[("authorization", f"Basic {basic}")], timeout=TIMEOUT_S
            )
        self.token = made.secret


@contextlib.contextmanager
def secured(folder: pathlib.Path):
    """Starts one; it is gone afterwards."""
    authority = Authority()
    folder.mkdir(parents=True, exist_ok=True)
    files, ca = Files(folder), folder / "ca.pem"
    files.put(authority.issue())
    ca.write_bytes(authority.pem)
    server = Server(folder / "server", settings={"auth": "on", **files.settings}, ca=authority.pem).start()
    try:
        one = Secured(server, ca)
        one.set_up()
        yield one
    finally:
        server.kill()
