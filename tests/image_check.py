"""`make image-check`: builds the image, runs it as hardened as deploy/ does, posts a notification and stops it.

It takes root, buildah and debootstrap (Debian's packages), and no container engine. Where the image's base cannot be
had, a Debian of the same release with its own Python stands in for it, which is the same Python.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import requests

from integration.gate_world import SECRETS
from integration.process_world import free_port, until

ROOT = Path(__file__).resolve().parents[1]
IMAGE = "localhost/champion-gate:check"
LONGEST_STOP = 10.0
"""Seconds after which `docker stop` kills."""
GATES = """
registry: databricks-uc
gates:
  - name: churn
    jobs: [1]
    model: main.ml.churn
    approval: {github: {repository: example/ml-deploy, environments: [champion]}}
    identities: {trainer@example.com: octo-trainer}
"""
ENVIRON = {
    **SECRETS,
    "CHAMPION_GATE_GITHUB_TOKEN": "github_pat_of_the_image_check",
    # Nothing listens there: a vendor that is away keeps the service neither from starting nor from taking hooks.
    "DATABRICKS_HOST": "http://127.0.0.1:9",
    "DATABRICKS_TOKEN": "dapi-of-the-image-check",
    "CHAMPION_GATE_HOST": "127.0.0.1",
}
NOTIFICATION = {
    "event_type": "jobs.on_success",
    "workspace_id": "1",
    "run": {"run_id": "2"},
    "job": {"job_id": "1", "name": "churn-train"},
}

# Mounts that end with the process; the root is read-only, and nothing is left of root's rights.
_CONTAINED = """
set -e
mount --bind "$root" "$root"
for place in proc dev; do mount --rbind "/$place" "$root/$place"; done
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$files/etc" "$root/etc/champion-gate"
mount --bind "$files/data" "$root/var/lib/champion-gate"
mount -o remount,bind,ro "$root"
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --inh-caps=-all \
  --bounding-set=-all --no-new-privs env --ignore-environment --chdir="$workdir" "$@"
"""


_BUILDAH = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}


def buildah(*arguments: str | Path) -> str:
    """Run buildah, with its own words where it fails; returns what it prints."""
    done = subprocess.run(
        ["buildah", *arguments], env=_BUILDAH, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def provide_base(base: str) -> str:
    """Have the base image in the local store: pulled, or else made of Debian's packages; returns its name there."""
    made = f"localhost/{base}"
    for words, name in ((["pull", "--quiet"], base), (["inspect", "--type=image"], made)):
        tried = subprocess.run(["buildah", *words, name], env=_BUILDAH, capture_output=True, check=False)
        if tried.returncode == 0:
            return name
    release = base.rpartition("-")[2]
    click.echo(f"{base} cannot be had; a debootstrapped {release} stands in for it.")
    container = buildah("from", "scratch")
    root = buildah("mount", container)
    packages = "--include=ca-certificates,python3,python3-venv"
    subprocess.run(["debootstrap", "--variant=minbase", packages, release, root], check=True, stdout=2)
    # The image has its Python there too, with pip and as `python`.
    subprocess.run(["chroot", root, "python3", "-m", "venv", "/usr/local"], check=True)
    buildah("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    buildah("commit", "--quiet", "--format", "docker", "--rm", container, made)
    return made


def build() -> None:
    """Build the image; pip's settings of this machine hold inside too."""
    (base,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    base = provide_base(base)
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    given = dict(re.findall(r"^\S+\.([\w-]+)='(.*)'$", settings, re.MULTILINE))
    given.pop("constraint", None)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write("\n".join(["[global]", *(f"{name} = {value}" for name, value in given.items()), ""]))
        file.flush()
        places = {"/etc/ssl/certs", *re.findall(r"(?:file://)?(/[\w/.-]+)", " ".join(given.values()))}
        folders = {Path(place) for place in places if Path(place).is_dir()}
        # An index `…/simple` links to files beside it.
        folders = {each.parent if each.name == "simple" else each for each in folders}
        volumes = [f"--volume={each}:{each}:ro" for each in sorted(folders)]
        buildah(
            *("bud", "--format=docker", "--isolation=chroot", "--pull-never", "--network=host", "--quiet"),
            *(f"--build-arg=BASE={base}", *volumes, f"--volume={file.name}:/etc/pip.conf:ro", "--tag", IMAGE),
            ROOT,
        )


class Container:
    """The image, unpacked, and what is mounted into it."""

    def __init__(self, files: Path) -> None:
        self.image: dict[str, Any] = json.loads(buildah("inspect", "--type=image", IMAGE))["Docker"]["config"]
        self.name = buildah("from", "--pull-never", IMAGE)
        self.root = Path(buildah("mount", self.name))
        (self.root / "etc" / "champion-gate").mkdir()
        self.port = free_port()
        uid, gid = (int(each) for each in self.image["User"].split(":"))
        for folder in ("etc", "data"):
            (files / folder).mkdir()
        (files / "etc" / "gates.yaml").write_text(GATES)
        os.chown(files / "data", uid, gid)
        self._mounts = {
            "root": str(self.root),
            "files": str(files),
            "user": self.image["User"],
            "workdir": self.image["WorkingDir"],
        }
        variables = {**dict(each.split("=", 1) for each in self.image["Env"]), **ENVIRON}
        self._environ = [
            f"{name}={value}" for name, value in {**variables, "CHAMPION_GATE_PORT": str(self.port)}.items()
        ]

    def start(self, *command: str, **how: Any) -> subprocess.Popen[str]:
        """Start a command as the image's user: root's file system is read-only, no capability is left."""
        line = ["unshare", "--mount", "bash", "-c", _CONTAINED, "bash", *self._environ, *command]
        return subprocess.Popen(line, env={**os.environ, **self._mounts}, text=True, **how)

    def run(self, *command: str) -> tuple[int, str]:
        """Run one to its end: its exit code, and everything that it printed."""
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output


@contextlib.contextmanager
def container() -> Iterator[Container]:
    """A container that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Container(Path(folder))
        try:
            yield made
        finally:
            buildah("rm", made.name)


def check(image: Container) -> None:
    """Hold what the image promises; the first thing that does not hold ends it."""
    _, health = image.image["Healthcheck"]["Test"][:1], image.image["Healthcheck"]["Test"][1:]
    entry = image.image["Entrypoint"]
    assert image.image["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert image.run(*health)[0] != 0, "it is healthy before it runs"
    code, said = image.run(*entry, "demo")
    assert code == 1, said
    assert "stand-ins" in said, said
    assert "Traceback" not in said, said
    code, said = image.run("python", "-c", "import psycopg, os; assert os.getuid(); open('/opt/file', 'w')")
    assert "Read-only file system" in said or "Permission denied" in said, said

    begun = time.monotonic()
    service = image.start(*entry, *image.image["Cmd"])
    try:
        until(lambda: service.poll() is not None or image.run(*health)[0] == 0, "it does not start")
        assert service.poll() is None, "it ended: see above"
        click.echo(f"It answers after {time.monotonic() - begun:.1f} s, on port {image.port}.")
        status = Path(f"/proc/{service.pid}/status").read_text()
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE), status
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE), status
        credentials = (
            ENVIRON["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
            ENVIRON["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
        )
        url = f"http://127.0.0.1:{image.port}/hooks/databricks"
        answer = requests.post(url, json=NOTIFICATION, auth=credentials, timeout=10)
        assert answer.status_code == 202, answer.text
        code, listed = image.run(*entry, "notifications", "list", "--json")
        assert code == 0, listed
        assert '"run_id": "2"' in listed, listed
    finally:
        begun = time.monotonic()
        service.terminate()
        service.wait(60)
        took = time.monotonic() - begun
    assert took < LONGEST_STOP, took
    assert service.returncode == 0, service.returncode
    click.echo(f"It stopped in {took:.1f} s. The image holds what it promises.")


if __name__ == "__main__":
    build()
    with container() as made:
        check(made)
