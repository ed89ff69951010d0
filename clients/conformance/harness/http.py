"""How does a program without any library ask over HTTP?"""

import json
import urllib.error
import urllib.request

TIMEOUT_S = 120


def get(address: str, path: str) -> tuple[int, str]:
    """Status and text."""
    status, _, body = _ask(urllib.request.Request(f"http://{address}{path}"))
    return status, body.decode()


def sql(address: str, statement: str) -> tuple[int, dict, dict]:
    """Status, headers and the JSON object of the answer to one statement."""
    request = urllib.request.Request(
        f"http://{address}/api/v1/sql", data=json.dumps({"sql": statement}).encode(), headers={"Content-Type": "application/json"}
    )
    status, headers, body = _ask(request)
    return status, headers, json.loads(body)


def _ask(request) -> tuple[int, dict, bytes]:
    # A proxy of the environment has nothing to do with 127.0.0.1.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()
