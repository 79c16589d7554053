"""The examples of deploy/ are taken by the tools that they are for, and say of the service what it says itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from flask import Flask, request

from champion_gate.adapters.databricks.connection import ME
from champion_gate.bootstrap import build_service
from champion_gate.bootstrap.configuration import known_variables, load_environment, load_gates
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import VendorRefusedError
from champion_gate.settings.databricks import credential_problems
from champion_gate_standins.common.server import serve
from integration.charts import (
    GATES,
    SCHEMAS,
    TOOLS,
    VALUES,
    Manifests,
    changed,
    needs_folder,
    one,
    problems_of,
    render,
)
from integration.databricks_fixtures import workspace
from integration.gate_world import SECRETS, api_token, gate_world
from integration.process_world import free_port, until
from integration.serving import served

pytestmark = [pytest.mark.part("rest"), needs_folder(TOOLS)]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
SQLITE = {"database": {"kind": "sqlite"}}
EVERYTHING = {
    "ingress": {"enabled": True, "host": "gate.example.com", "tlsSecret": "tls", "className": "nginx"},
    "serviceMonitor": {"enabled": True, "tokenSecret": "metrics", "labels": {"release": "prometheus"}},
    "env": {"CHAMPION_GATE_PUBLIC_URL": "https://gate.example.com"},
    "image": {"repository": "images.example.com/champion-gate", "digest": "sha256:" + "0" * 64},
}


def run(*command: object, **how: Any) -> None:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False, **how)
    assert done.returncode == 0, done.stdout + done.stderr


# --- Kubernetes -------------------------------------------------------------------------------------------

TAKEN = {
    "PostgreSQL": VALUES,
    "everything": changed(**EVERYTHING),
    "SQLite": changed(replicas=1, **SQLITE),
    "a client secret": changed(databricks={"auth": "secret"}),
}
REFUSED = {
    "SQLite takes one replica": changed(**SQLITE),
    "database.kind is": changed(database={"kind": "mysql"}),
    "databricks.auth is": changed(databricks={"auth": "token"}),
    "databricks.audience is empty": changed(databricks={"audience": ""}),
    "databricks.host is empty": changed(databricks={"host": ""}),
    "existingSecret is empty": changed(existingSecret=""),
    "gates is empty": changed(gates=""),
    "ingress.host is empty": changed(ingress={"enabled": True}),
    "serviceMonitor.tokenSecret is empty": changed(serviceMonitor={"enabled": True}),
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, dict[str, Any]]:
    every = TAKEN | REFUSED
    return dict(zip(every, render(list(every.values())), strict=True))


@pytest.fixture(scope="module")
def chart(rendered: dict[str, dict[str, Any]]) -> Manifests:
    manifests: Manifests = rendered["everything"]["manifests"]
    return manifests


def test_helm_takes_the_chart_and_its_rules_refuse_what_would_not_work(
    rendered: dict[str, dict[str, Any]],
) -> None:
    found = {name: rendered[name].get("problems", rendered[name]) for name in TAKEN}
    assert not any(found.values()), found
    for words in REFUSED:
        assert words in rendered[words].get("refused", ""), words


@needs_folder(SCHEMAS)
@pytest.mark.part("full")
def test_kubernetes_takes_the_chart(rendered: dict[str, dict[str, Any]]) -> None:
    for name in TAKEN:
        # Its schema is Prometheus Operator's.
        known = [each for each in rendered[name]["manifests"] if each["kind"] != "ServiceMonitor"]
        assert problems_of(known) == [], name
    wrong = {**one(rendered["SQLite"]["manifests"], "Service"), "spce": {}}
    assert problems_of([wrong]) != []


def test_every_pod_keeps_to_the_restricted_standard_and_writes_nowhere_else(chart: Manifests) -> None:
    """kubernetes.io/docs/concepts/security/pod-security-standards, *Restricted*."""
    for kind in ("Deployment", "Job"):
        pod = one(chart, kind)["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["image"].endswith("@sha256:" + "0" * 64)


def test_no_secret_is_in_a_manifest(rendered: dict[str, dict[str, Any]]) -> None:
    for name in TAKEN:
        assert "Secret" not in {each["kind"] for each in rendered[name]["manifests"]}
    pod = one(rendered["a client secret"]["manifests"], "Deployment")["spec"]["template"]["spec"]
    (secret,) = [each for each in pod["containers"][0]["env"] if each["name"] == "DATABRICKS_CLIENT_SECRET"]
    assert secret["valueFrom"]["secretKeyRef"]["name"] == "champion-gate"


IMAGE = dict(re.findall(r"\b(CHAMPION_GATE_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
"""What the image says beneath whatever runs it."""


def environ_of(manifests: Manifests) -> dict[str, str]:
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_the_service_takes_what_the_chart_gives_it(chart: Manifests, tmp_path: Path) -> None:
    environ = IMAGE | environ_of(chart)
    assert credential_problems(environ) == []
    assert environ["DATABRICKS_AUTH_TYPE"] == "file-oidc"
    # As Kubernetes lays a Secret out: links into a folder with two dots before its name.
    secrets = tmp_path / "secrets"
    (secrets / "..data").mkdir(parents=True)
    (secrets / "..data" / "CHAMPION_GATE_DATABASE_URL").write_text("postgresql+psycopg://gate:p@db/gate\n")
    (secrets / "CHAMPION_GATE_DATABASE_URL").symlink_to("..data/CHAMPION_GATE_DATABASE_URL")
    found = load_environment({**environ, "CHAMPION_GATE_SECRETS_DIR": str(secrets)})
    assert found.database_url.get_secret_value() == "postgresql+psycopg://gate:p@db/gate"
    assert (found.port, found.proxy_hops) == (8080, 1)
    file = tmp_path / "gates.yaml"
    file.write_text(one(chart, "ConfigMap")["data"]["gates.yaml"])
    assert load_gates(file).gates[0].model == "main.ml.churn"
    assert file.read_text() == GATES


def test_a_pod_signs_in_with_the_token_that_kubernetes_renews_and_without_a_secret(
    chart: Manifests, tmp_path: Path
) -> None:
    pod = one(chart, "Deployment")["spec"]["template"]["spec"]
    (projected,) = [each["projected"] for each in pod["volumes"] if each["name"] == "databricks"]
    source = projected["sources"][0]["serviceAccountToken"]
    assert source["audience"] == VALUES["databricks"]["audience"]
    environ = environ_of(chart)
    (mount,) = [
        each["mountPath"] for each in pod["containers"][0]["volumeMounts"] if each["name"] == "databricks"
    ]
    assert environ["DATABRICKS_OIDC_TOKEN_FILEPATH"] == f"{mount}/{source['path']}"
    file = tmp_path / "token"
    with workspace() as databricks:
        databricks.standin.token_seconds = 1
        connection = databricks.connection(
            token=None,
            auth_type=environ["DATABRICKS_AUTH_TYPE"],
            client_id=environ["DATABRICKS_CLIENT_ID"],
            oidc_token_filepath=str(file),
        )
        for token in ("first", "renewed"):
            file.write_text(token)
            databricks.standin.federation = {token: environ["DATABRICKS_CLIENT_ID"]}
            connection.begin().read(ME)
        databricks.standin.federation = {}
        with pytest.raises(VendorRefusedError):
            connection.begin().read(ME)


def test_a_pod_is_given_the_time_to_stop_that_the_service_is_told(chart: Manifests) -> None:
    pod = one(chart, "Deployment")["spec"]["template"]["spec"]
    before = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert (
        before + int(environ_of(chart)["CHAMPION_GATE_STOP_SECONDS"])
        < pod["terminationGracePeriodSeconds"]
        == 30
    )


def probes_of(manifests: Manifests) -> list[tuple[str, int]]:
    """The path of each probe that goes on, and after how many seconds it comes again."""
    (container,) = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    probes = [container["livenessProbe"], container["readinessProbe"]]
    assert [each["httpGet"]["path"] for each in probes] == ["/livez", "/readyz"]
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 60
    return [(each["httpGet"]["path"], each["periodSeconds"]) for each in probes]


def test_five_minutes_without_databricks_take_no_pod_away_and_lose_no_notification(
    chart: Manifests, tmp_path: Path
) -> None:
    probes = probes_of(chart)
    name, password = (SECRETS[f"CHAMPION_GATE_DATABRICKS_HOOK_{each}"] for each in ("USERNAME", "PASSWORD"))
    with gate_world(tmp_path) as world:
        service = build_service(
            world.environ,
            clock=world.clock,
            databricks={"host": world.databricks_url, "token": "standin-token"},
            sleep=lambda _seconds: None,
        )
        posted = []
        with served(service) as url:
            refused = world.break_databricks(".", drop=True)
            for second in range(0, 300, 5):
                if second % 60 == 0:
                    run_id, _ = world.train_run()
                    body = {
                        "event_type": "jobs.on_success",
                        "workspace_id": world.databricks.workspace_id,
                        "run": {"run_id": run_id},
                        "job": {"job_id": world.job_id, "name": "train-churn"},
                    }
                    posted.append(
                        requests.post(
                            f"{url}/hooks/databricks", json=body, auth=(name, password), timeout=30
                        ).status_code
                    )
                due = [path for path, period in probes if second % period == 0]
                assert [requests.get(url + path, timeout=30).status_code for path in due] == [200] * len(due)
                world.clock.move(seconds=5)
            assert refused.hits > 0
            assert posted == [202] * 5
            world.databricks.faults.clear()
            for _ in range(3):
                world.clock.move(minutes=2)
                until(lambda: not world.store.due(world.clock.now()).notifications, "they stay due")
        assert {each.phase for each in world.notifications()} == {NotificationPhase.RESOLVED}
        assert len(world.promotions()) == 5


def test_the_service_monitor_selects_the_service_and_asks_for_what_it_answers(
    chart: Manifests, tmp_path: Path
) -> None:
    monitor, service = one(chart, "ServiceMonitor"), one(chart, "Service")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    authorization = endpoint["authorization"]
    assert authorization["credentials"] == {"name": "metrics", "key": "token"}
    with gate_world(tmp_path) as world:
        app = build_service(world.environ, databricks={"host": world.databricks_url}).app
        asked = app.test_client().get(
            endpoint["path"], headers={"Authorization": f"{authorization['type']} {api_token(world.store)}"}
        )
    assert (asked.status_code, b"champion_gate_promotions{" in asked.data) == (200, True)


def test_the_chart_is_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    about = yaml.safe_load((DEPLOY / "kubernetes" / "champion-gate" / "Chart.yaml").read_text())
    assert (about["version"], about["appVersion"]) == (version, version)


# --- Compose and Caddy ------------------------------------------------------------------------------------

COMPOSE, MONITORING = (
    yaml.safe_load((DEPLOY / "compose" / name).read_text()) for name in ("compose.yaml", "monitoring.yaml")
)


@pytest.mark.needs("check-jsonschema")
def test_compose_takes_its_files() -> None:
    files = [DEPLOY / "compose" / name for name in ("compose.yaml", "monitoring.yaml")]
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


@pytest.mark.needs("promtool")
def test_prometheus_beside_it_is_hardened_and_takes_its_file() -> None:
    run(BIN / "promtool", "check", "config", "--syntax-only", DEPLOY / "compose" / "prometheus.yaml")
    service = MONITORING["services"]["prometheus"]
    hardened = ("restart", "read_only", "cap_drop", "security_opt", "logging")
    assert {each: service[each] for each in hardened} == COMPOSE["x-hardened"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    for file, *_ in (each.split(":") for each in service["volumes"] if each.startswith(".")):
        assert (DEPLOY / "compose" / file).is_file()


def test_every_container_is_hardened_and_only_caddy_is_reached_from_outside() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert ("ports" in service) == (name == "caddy"), name
        assert "user" in service or name == "caddy", name
    gate = COMPOSE["services"]["champion-gate"]
    assert gate["user"] == re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    named = [each for each in gate["environment"] if each.startswith(PREFIX)]
    assert set(named) <= {PREFIX + each.upper() for each in known_variables()}


HOOKS = re.findall(r"`POST /hooks/(\w+)`", (ROOT / "service" / "docs" / "api.md").read_text())


def test_proxies_pass_on_every_hook_that_there_is() -> None:
    assert {"databricks", "mlflow", "ping"} <= {*HOOKS}
    for file in ("compose/Caddyfile", "proxy/README.md"):
        (passed,) = re.findall(r"hooks/\(([\w|]+)\)", (DEPLOY / file).read_text())
        assert sorted(passed.split("|")) == sorted(HOOKS), file


@contextmanager
def caddy(folder: Path, upstream: str) -> Iterator[tuple[str, str]]:
    """The Caddyfile as it stands, on two free ports and with certificates of its own: its address, their authority."""
    http, https = free_port(), free_port()
    text = (DEPLOY / "compose" / "Caddyfile").read_text()
    options = f"{{\n\tadmin off\n\tskip_install_trust\n\thttp_port {http}\n\thttps_port {https}\n\tdefault_bind 127.0.0.1\n"
    (folder / "Caddyfile").write_text(re.sub(r"^\{\n", options, text, count=1, flags=re.MULTILINE))
    environ = {"GATE_HOST": "localhost", "GATE_UPSTREAM": upstream, "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [TOOLS / "bin" / "caddy", "run", "--config", folder / "Caddyfile"],
            env=environ,
            stdout=log,
            stderr=log,
        )
    try:
        authority = folder / ".local/share/caddy/pki/authorities/local/root.crt"

        def answers() -> bool:
            assert process.poll() is None, (folder / "log").read_text()
            if not authority.exists():
                return False
            try:
                return (
                    requests.get(f"https://localhost:{https}/", verify=str(authority), timeout=5).ok is False
                )
            except requests.RequestException:
                return False

        until(answers, (folder / "log").read_text)
        yield f"https://localhost:{https}", str(authority)
    finally:
        process.terminate()
        process.wait(20)


def test_caddy_passes_on_whole_requests_to_the_paths_that_vendors_need_and_to_no_other(
    tmp_path: Path,
) -> None:
    seen: list[tuple[str, str | None, int]] = []
    app = Flask("upstream")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def take(path: str) -> str:
        seen.append((path, request.headers.get("X-Forwarded-For"), len(request.get_data())))
        return "taken"

    with serve(app) as upstream, caddy(tmp_path, upstream.removeprefix("http://")) as (url, authority):

        def status(method: str, path: str, body: bytes = b"{}") -> int:
            sent = {"X-Forwarded-For": "203.0.113.7"}
            answer = requests.request(
                method, url + path, data=body, headers=sent, verify=authority, timeout=20
            )
            return answer.status_code

        public = [*(f"hooks/{sender}" for sender in HOOKS), "api/v1/promotions/p-1/decision"]
        assert [status("POST", f"/{path}", b"x" * 2**20) for path in public] == [200] * len(public)
        # One address, and not what the sender says of itself.
        assert seen == [(path, "127.0.0.1", 2**20) for path in public]
        for path in (
            "/",
            "/livez",
            "/readyz",
            "/docs",
            "/api/v1/promotions",
            "/hooks/other",
            "/hooks/github/x",
        ):
            assert status("GET", path) == 404, path
            assert status("POST", path) == 404, path
        assert status("GET", "/hooks/github") == 404
        assert len(seen) == len(public)


# --- systemd ----------------------------------------------------------------------------------------------

UNITS = sorted((DEPLOY / "systemd").glob("champion-gate*.*"))


@pytest.mark.needs("systemd-analyze")
def test_systemd_takes_its_units_and_finds_them_hardened(tmp_path: Path) -> None:
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for file in UNITS:
        shutil.copy(file, units)
    # What they stand on; systemd does not look outside of the root that it is given.
    for name in ("sysinit", "basic", "shutdown", "timers", "network-online", "multi-user"):
        (units / f"{name}.target").write_text("[Unit]\nDescription=Part of systemd\n")
    (units / "tmp.mount").write_text("[Mount]\nWhat=tmpfs\nWhere=/tmp\n")
    for program in ("opt/champion-gate/bin/champion-gate", "bin/sh", "usr/bin/find"):
        file = tmp_path / program
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    names = [each.name for each in UNITS]
    run("systemd-analyze", "verify", "--man=no", f"--root={tmp_path}", *names)
    for name in names:
        if name.endswith(".service"):
            # Of 10.0 at most; below 2.0 it is "OK", and a unit without a word on it has 9.6.
            run("systemd-analyze", "security", "--offline=yes", "--threshold=20", f"--root={tmp_path}", name)


def test_the_unit_hands_over_secrets_as_the_service_looks_for_them() -> None:
    text = (DEPLOY / "systemd" / "champion-gate.service").read_text()
    # systemd names a file of the folder CHAMPION_GATE_FILE (systemd.exec(5), LoadCredential=).
    assert re.search(r"^LoadCredential=CHAMPION_GATE:/etc/champion-gate/secrets$", text, re.MULTILINE)
    assert re.search(r"^Environment=CHAMPION_GATE_SECRETS_DIR=%d$", text, re.MULTILINE)
    named = set(re.findall(r"^Environment=(CHAMPION_GATE_\w+)", text, re.MULTILINE))
    assert named <= {PREFIX + each.upper() for each in known_variables()}
    stop = re.search(r"CHAMPION_GATE_STOP_SECONDS=(\d+)", text)
    limit = re.search(r"^TimeoutStopSec=(\d+)", text, re.MULTILINE)
    assert stop
    assert limit
    assert int(stop[1]) < int(limit[1])


# --- a clone on GitHub ------------------------------------------------------------------------------------

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.needs("actionlint", "zizmor", "check-jsonschema")
def test_the_workflows_of_a_clone_are_sound_and_their_actions_pinned() -> None:
    run(BIN / "actionlint", *WORKFLOWS)
    run(BIN / "zizmor", "--offline", "--no-progress", ROOT / ".github")
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    run(
        BIN / "check-jsonschema", "--builtin-schema", "vendor.dependabot", ROOT / ".github" / "dependabot.yml"
    )
    for file in WORKFLOWS:
        used = re.findall(r"uses: (?!\./)(\S+)", file.read_text())
        assert [each for each in used if not re.search(r"@[0-9a-f]{40}$", each)] == [], file.name


def test_the_workflows_call_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = {name for file in WORKFLOWS for name in re.findall(r"\bmake ([a-z-]+)", file.read_text())}
    assert called
    assert called <= targets
