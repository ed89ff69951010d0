"""How does an engine with a Python of its own work for a test? A line of JSON in, a line of JSON out, until the input ends."""

import json
import sys


def serve(read, writes):
    """`read(location, version, to)` writes a Parquet file; `writes` are functions of a location by name."""
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "read" in request:
                read(request["read"], request["version"], request["to"])
            else:
                writes[request["write"]](request["at"])
            answer = {}
        except Exception as error:  # noqa: BLE001: told to the test
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
