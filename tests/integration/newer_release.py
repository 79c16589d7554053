"""A release after this one, as a copy of the tree: release 0.2.0 has one more migration, and a word that only it knows."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import champion_gate
from champion_gate.store.tables import SCHEMA_VERSION
from integration.commands import clean_environ, command_line

RELEASE = "0.2.0"
SCHEMA = f"{int(SCHEMA_VERSION) + 1:04}"
WORD = "greeting"
"""A kind of line in the ledger, which it writes beside each approval."""

_MIGRATION = f'''"""A column that may be empty."""

import sqlalchemy as sa
from alembic import op

revision = "{SCHEMA}"
down_revision = "{SCHEMA_VERSION}"
branch_labels = None
depends_on = None
oldest_release = "OLDEST"


def upgrade():
    op.add_column("promotions", sa.Column("note", sa.Text))
'''
_CHANGES = (
    ("__init__.py", f'__version__ = "{champion_gate.__version__}"', f'__version__ = "{RELEASE}"'),
    ("store/tables.py", f'SCHEMA_VERSION = "{SCHEMA_VERSION}"', f'SCHEMA_VERSION = "{SCHEMA}"'),
    (
        "store/tables.py",
        'Column("evidence_json", Text),',
        'Column("evidence_json", Text),\n    Column("note", Text),',
    ),
    ("domain/ledger/chain.py", '    DRIFT = "drift"', f'    DRIFT = "drift"\n    GREETING = "{WORD}"'),
    (
        "store/releases.py",
        "WORDS: Mapping[str, Sequence[Enum]] = {}",
        f'WORDS = {{"{RELEASE}": (chain.LedgerKind.GREETING,)}}',
    ),
    (
        "store/releases.py",
        "from champion_gate.errors import",
        "from champion_gate.domain.ledger import chain\nfrom champion_gate.errors import",
    ),
    (
        "flow/promoter.py",
        "            ledger=[line],\n            steps=",
        "            ledger=[line, replace(line, kind=LedgerKind.GREETING)],\n            steps=",
    ),
)


def newer_release(folder: Path, *, oldest: str = champion_gate.__version__) -> str:
    """Make the copy.

    Args:
        folder: where to.
        oldest: what its migration names as the oldest release that may run beside it.

    Returns:
        The PYTHONPATH of a process of that release.
    """
    package = folder / "newer" / "champion_gate"
    shutil.copytree(Path(champion_gate.__file__).parent, package)
    for name, before, after in _CHANGES:
        file = package / name
        text = file.read_text()
        assert text.count(before) == 1, (name, before)
        file.write_text(text.replace(before, after))
    migration = package / f"store/migrations/versions/v{SCHEMA}_note.py"
    migration.write_text(_MIGRATION.replace("OLDEST", oldest))
    return os.pathsep.join([str(package.parent), str(Path(__file__).parents[1])])


def run_newer(path: str, *arguments: str, environ: Mapping[str, str], folder: Path) -> tuple[int, str]:
    """Run a command of the newer release to its end; returns its exit code and what it printed."""
    ended = subprocess.run(
        command_line(*arguments),
        cwd=folder,
        env=clean_environ({**environ, "PYTHONPATH": path}),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return ended.returncode, ended.stdout
