"""`champion-gate serve`: check everything, then become gunicorn; and whether it answers."""

from __future__ import annotations

import os
import sys
from http import HTTPStatus

import click


@click.command(name="serve")
@click.option("--host", help="Address to listen on; CHAMPION_GATE_HOST by default.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on; CHAMPION_GATE_PORT by default."
)
@click.option(
    "--console/--json",
    default=None,
    help="Log lines for people, or as JSON; by default the former on a terminal, and else the latter.",
)
def command(host: str | None, port: int | None, *, console: bool | None) -> None:
    """Run the service: web, workers and sweep in one process.

    It refuses to start with a configuration that is not whole, and names everything that is wrong (exit 2). Where its
    port is in use it says so and exits with 4.
    """
    from champion_gate.bootstrap.databases import migrate_database
    from champion_gate.bootstrap.starting import check_job_names, check_port, load_serving_settings
    from champion_gate.errors import VendorError
    from champion_gate.gunicorn_conf import command as gunicorn

    settings = load_serving_settings()
    try:
        check_job_names(settings)
    except VendorError as error:
        click.echo(f"champion-gate: job names are not checked yet: {error}", err=True)
    given = settings.environment
    host, port = host or given.host, given.port if port is None else port
    check_port(host, port)
    migrate_database(settings.database_url)
    arguments = gunicorn(
        f"{host}:{port}",
        console=sys.stdout.isatty() if console is None else console,
        stop_seconds=given.stop_seconds,
    )
    # glibc keeps what each thread has freed for that thread alone, in an arena and in a cache before it: with our
    # twenty, and fifty more that answer requests, tens of MB.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.tcache_count=1")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(128 * 1024))
    # In place of this process: what the checks have imported does not stay in the master's memory.
    os.execv(arguments[0], arguments)  # noqa: S606 - our own interpreter


_HEALTH_SECONDS = 4  # the image's check gives it five
_WHERE_ALL_ARE_REACHED = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


@click.command()
@click.option("--host", envvar="CHAMPION_GATE_HOST", default="127.0.0.1", help="As for `serve`.")
@click.option(
    "--port", envvar="CHAMPION_GATE_PORT", type=click.IntRange(1, 65535), default=8080, help="As for `serve`."
)
def healthcheck(host: str, port: int) -> None:
    """Ask the service on this machine whether it answers; exit code 4 where it does not.

    It runs every few seconds, so it reads no setting but these two.
    """
    from http.client import HTTPConnection, HTTPException

    from champion_gate.errors import VendorUnavailableError

    connection = HTTPConnection(_WHERE_ALL_ARE_REACHED.get(host, host), port, timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise VendorUnavailableError("the service", f"port {port} does not answer: {error}") from None
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        raise VendorUnavailableError("the service", f"port {port} answers {status}")
    click.echo("alive")
