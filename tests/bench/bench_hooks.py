"""How quickly notifications are taken, and how soon a worker is at it."""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.report import Report
from integration.process_world import ProcessWorld, port_of, process_world, until

CONNECTIONS, POSTS_EACH, HAND_OVERS = 50, 20, 20


def post_many(world: ProcessWorld, run_id: str) -> list[float]:
    """Post over one connection, kept open; returns the seconds that each took."""
    body = json.dumps(world.notification(run_id))
    authorization = b64encode(":".join(world.hook_credentials).encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(world.url), timeout=60)
    taken = []
    for _ in range(POSTS_EACH):
        begun = time.perf_counter()
        connection.request("POST", "/hooks/databricks", body, {"Authorization": f"Basic {authorization}"})
        answer = connection.getresponse()
        answer.read()
        taken.append(time.perf_counter() - begun)
        assert answer.status == 202
    connection.close()
    return taken


def hand_over(world: ProcessWorld) -> float:
    """Seconds from the 202 until a worker re-reads the run at Databricks."""
    run_id = world.databricks.jobs.start_run(world.job_id)
    assert world.databricks.jobs.send_notification(run_id, event_type="jobs.on_success") == [202]
    begun = time.perf_counter()
    until(lambda: any(r.query.get("run_id") == run_id for r in world.databricks.requests[-20:]), world.story)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    report = Report("Hooks")
    with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as world:
        served = world.serve()
        until(lambda: "first looked" in served.output(), served.output)
        run_id = world.databricks.jobs.start_run(world.job_id)
        begun = time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            many = [pool.submit(post_many, world, run_id) for _ in range(CONNECTIONS)]
            taken = sorted(seconds for each in many for seconds in each.result())
        elapsed = time.perf_counter() - begun
        report.line(f"{len(taken)} posts over {CONNECTIONS} connections", elapsed, "s")
        report.line("posts a second", len(taken) / elapsed, "", digits=0)
        report.line("a post, median", 1000 * statistics.median(taken), "ms", digits=0)
        report.line("a post, 99th percentile", 1000 * taken[int(0.99 * len(taken))], "ms", digits=0)
        report.line("a post, slowest", 1000 * taken[-1], "ms", digits=0)
        alone = [hand_over(world) for _ in range(HAND_OVERS)]
        report.line(
            "from the 202 to a worker's call, median", 1000 * statistics.median(alone), "ms", digits=0
        )
        report.line("from the 202 to a worker's call, slowest", 1000 * max(alone), "ms", digits=0)
    report.end()


main()
