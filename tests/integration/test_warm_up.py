"""What a fresh process imports before the first notification needs it, and whom it looks up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.commands import clean_environ
from integration.gate_models import MlflowModels
from integration.process_world import process_world
from unit.far_end import answer, far_end

WARM = """
import sys
from champion_gate.adapters.mlflow.client import import_mlflow
import_mlflow(with_database=sys.argv[1].startswith("sqlite:"))
before = set(sys.modules)
from champion_gate.adapters.mlflow.registry import MlflowRegistry
from champion_gate.errors import GateError
try:
    MlflowRegistry(sys.argv[1]).check()
except GateError as error:
    print(error)
print("later:", *sorted(each for each in set(sys.modules) - before if each.split(".")[0] == "mlflow"))
"""
# Python runs it before anything else in each process that finds it on its path.
WATCHING = """
import os, sys
line = os.open(os.environ["SEEN"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def audit(event, args):
    if event == "import" and args[0] == "mlflow":
        told = os.environ.get("MLFLOW_DISABLE_TELEMETRY")
        os.write(line, f"telemetry off: {told}\\n".encode())
    elif event == "socket.getaddrinfo":
        os.write(line, f"look-up {args[0]}\\n".encode())
sys.addaudithook(audit)
"""


@pytest.mark.part("rest")
@pytest.mark.parametrize("registry", ["a database", "a server"])
def test_the_registrys_client_is_imported_before_it_is_needed(tmp_path: Path, registry: str) -> None:
    with far_end(answer(200, {})) as far:
        address = MlflowModels(tmp_path).registry if registry == "a database" else far.url
        command = [sys.executable, "-c", WARM, address]
        done = subprocess.run(
            command, env=clean_environ({}), capture_output=True, text=True, timeout=60, check=True
        )
        assert registry == "a database" or far.seen
    later = done.stdout.splitlines()[-1].split()
    assert later[0] == "later:"
    assert "mlflow" not in later
    assert len(later) < 20


@pytest.mark.part("rest")
def test_nobody_outside_is_looked_up_from_the_start_to_the_alias(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCHING)
    seen = tmp_path / "seen"
    with process_world(tmp_path, "mlflow", PYTHONPATH=str(tmp_path), SEEN=str(seen)) as world:
        world.forked = False  # it is seen from the start
        world.serve(MLFLOW_DISABLE_TELEMETRY="false", DO_NOT_TRACK="false")
        version = world.train()
        world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
        world.wait_for(Phase.PROMOTED, version)
    told = seen.read_text().splitlines()
    assert {line for line in told if line.startswith("look-up ")} <= {
        "look-up 127.0.0.1",
        "look-up localhost",
    }
    assert {line for line in told if line.startswith("telemetry ")} == {"telemetry off: true"}
