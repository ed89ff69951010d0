"""How is a program with the JDBC driver run for a test? One process for each suite of `jdbc/`, a line of JSON from it for each case."""

import json
import os
import pathlib
import subprocess
import threading

FOLDER = os.environ.get("TIDEWATER_JDBC")
TIMEOUT_S = 600


def versions() -> list[str]:
    """Of the driver; none where the programs were not built."""
    return sorted((path.name for path in pathlib.Path(FOLDER).iterdir()), key=_by_number) if FOLDER else []


def newest() -> str:
    """The version that was the newest when the programs were built."""
    return (pathlib.Path(FOLDER).parent / "newest").read_text().strip()


def _by_number(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def run(version: str, suite: str, settings: dict[str, str], log: pathlib.Path, *, zone: str = "UTC", asked=None) -> list[dict]:
    """The outcome of each case: {"case", "outcome", "why"}. `asked` is called with what the program wants to be done to a server."""
    command = [pathlib.Path(FOLDER) / version, suite, json.dumps({**settings, "version": version})]
    environment = {**os.environ, "JDK_JAVA_OPTIONS": f"-Duser.timezone={zone} -Xmx1g"}
    with log.open("wb") as errors:
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    timer = threading.Timer(TIMEOUT_S, program.kill)
    timer.start()
    try:
        outcomes = list(_outcomes(program, asked))
        code = program.wait()
    finally:
        timer.cancel()
        program.kill()
        program.wait()
    if code != 0:
        why = f"the program ended with {code}: {log.read_text(errors='replace')[-2000:]}"
        outcomes.append({"case": f"the end of {suite}", "outcome": "failed", "why": why})
    return outcomes


def _outcomes(program: subprocess.Popen, asked):
    for line in program.stdout:
        said = json.loads(line)
        if "ask" in said:
            asked(said["ask"])
            program.stdin.write("done\n")
            program.stdin.flush()
        else:
            yield said
