"""Where does a test get an object store? moto's S3 server in a process of its own, and a bucket in it."""

import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3
import botocore.config

from .server import free_port

START_TIMEOUT_S = 60
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "conformance", "AWS_SECRET_ACCESS_KEY": "conformance", "AWS_REGION": REGION}
# Nothing of the machine's own accounts or proxies has to do with a store on 127.0.0.1.
WITHOUT = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}


def access(address: str) -> dict[str, str]:
    """How the store at `address` is reached: the variables of a server, and the storage options of deltalake and Polars."""
    return {"AWS_ENDPOINT_URL": f"http://{address}", "AWS_ALLOW_HTTP": "true", **KEYS}


class Moto:
    """Keeps everything in memory, and does conditional puts."""

    def __init__(self, folder: pathlib.Path):
        self.address = f"127.0.0.1:{free_port()}"
        host, port = self.address.split(":")
        command = [sys.executable, "-c", "from moto.server import main; main()", "-H", host, "-p", port]
        self.log = folder / "moto.log"
        with self.log.open("wb") as log:
            environment = {name: value for name, value in os.environ.items() if name != "AWS_PROFILE"} | KEYS | WITHOUT
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"moto did not start:\n{self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        self.s3 = boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
            config=botocore.config.Config(s3={"addressing_style": "path"}, proxies={}),
        )

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{self.address}/moto-api/", timeout=1):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.wait()

    def bucket(self, name: str) -> "Bucket":
        self.s3.create_bucket(Bucket=name)
        return Bucket(self, name)


class Bucket:
    """What is in the store, past any relay."""

    def __init__(self, moto: Moto, name: str):
        self.s3, self.address, self.name = moto.s3, moto.address, name

    def names(self, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def read(self, name: str) -> bytes:
        return self.s3.get_object(Bucket=self.name, Key=name)["Body"].read()

    def put(self, name: str, data: bytes):
        """Only if it is not there."""
        self.s3.put_object(Bucket=self.name, Key=name, Body=data, IfNoneMatch="*")
