"""Steps that follow moves of an alias: those that have failed are found without a look at all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"

_FAILED = sa.text("phase = 'failed'")


def upgrade() -> None:
    """Make the index."""
    op.create_index("steps_failed", "steps", ["kind"], sqlite_where=_FAILED, postgresql_where=_FAILED)


def downgrade() -> None:
    """Forget the steps that the release before does not know."""
    op.drop_index("steps_failed", "steps")
    op.execute(sa.text("DELETE FROM steps WHERE kind IN ('job', 'endpoint')"))
