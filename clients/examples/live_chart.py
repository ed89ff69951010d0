"""A live chart: detections a second of the last two minutes, redrawn each second.

Beside `tidewater demo`, or `tidewater serve` with a table `detections`. Without any package it serves a page of its own, with the chart as
inline SVG:

    python clients/examples/live_chart.py --server http://127.0.0.1:8080 --port 8501

With Streamlit the same chart is a Streamlit page: `streamlit run clients/examples/live_chart.py`.
"""

import argparse
import html
import http.server
import json
import urllib.error
import urllib.request

SECONDS = 120
SQL = f"""
SELECT s.value AS ago, count(d.detection_oid) AS n
FROM generate_series(0, {SECONDS - 1}) s
LEFT JOIN (SELECT detection_oid, CAST(floor(date_part('epoch', now()) - date_part('epoch', timestamp_detected)) AS BIGINT) AS ago
           FROM detections WHERE timestamp_detected > now() - INTERVAL '{SECONDS} seconds') d ON d.ago = s.value
GROUP BY s.value ORDER BY s.value DESC
"""
WIDTH, HEIGHT, MARGIN = 960, 320, 40


def counts(server: str) -> list[int]:
    """Detections of each second, the oldest first."""
    request = urllib.request.Request(f"{server}/api/v1/sql", data=SQL.encode(), headers={"Content-Type": "application/sql"})
    # A proxy of the environment has nothing to do with a server beside us.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return [n for _, n in json.load(answer)["rows"]]


def svg(values: list[int]) -> str:
    top = max([*values, 1])
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    points = " ".join(f"{MARGIN + i * step:.1f},{HEIGHT - MARGIN - n / top * (HEIGHT - 2 * MARGIN):.1f}" for i, n in enumerate(values))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="detections a second">'
        f'<line x1="{MARGIN}" y1="{HEIGHT - MARGIN}" x2="{WIDTH - MARGIN}" y2="{HEIGHT - MARGIN}" stroke="gray"/>'
        f'<text x="4" y="{MARGIN}" font-size="12">{top}</text><text x="4" y="{HEIGHT - MARGIN}" font-size="12">0</text>'
        f'<text x="{MARGIN}" y="{HEIGHT - 12}" font-size="12">{len(values)} s ago</text>'
        f'<text x="{WIDTH - MARGIN - 24}" y="{HEIGHT - 12}" font-size="12">now</text>'
        f'<polyline points="{points}" fill="none" stroke="steelblue" stroke-width="2"/></svg>'
    )


def page(server: str) -> str:
    try:
        values = counts(server)
        body = f"<p>{sum(values)} detections in {len(values)} s</p>{svg(values)}"
    except (OSError, urllib.error.HTTPError) as error:
        detail = error.read().decode() if isinstance(error, urllib.error.HTTPError) else str(error)
        body = f"<p>no answer from {html.escape(server)}: {html.escape(detail)}</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="1"><title>Detections a second</title>'
        f'<body style="font-family: sans-serif"><h1>Detections a second</h1>{body}</body></html>'
    )


def serve(server: str, port: int):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = page(server).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as running:
        print(f"http://127.0.0.1:{running.server_port}/ until Ctrl-C", flush=True)
        running.serve_forever()


def draw_with_streamlit():
    import streamlit

    server = streamlit.text_input("Server", "http://127.0.0.1:8080")

    @streamlit.fragment(run_every=1)
    def chart():
        streamlit.line_chart(counts(server), x_label="seconds", y_label="detections")

    streamlit.title("Detections a second")
    chart()


def is_run_by_streamlit() -> bool:
    try:
        from streamlit import runtime
    except ImportError:
        return False
    return runtime.exists()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--server", default="http://127.0.0.1:8080")
    arguments.add_argument("--port", type=int, default=8501, help="of the page; 0 takes a free one")
    given = arguments.parse_args()
    try:
        serve(given.server, given.port)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    if is_run_by_streamlit():
        draw_with_streamlit()
    else:
        main()
