"""Limits, and what each process holds of what is left of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.operations import Operations

revision = "0002"
down_revision = "0001"


def upgrade(op: Operations) -> None:
    """Make the tables."""
    op.create_table(
        "usage_ledger_limit",
        sa.Column("no", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
    )
    op.create_table(
        "usage_ledger_limit_since",
        sa.Column("limit_id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_ledger_limit_hold",
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("recalled", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("usage_ledger_limit_hold_of_account", "usage_ledger_limit_hold", ["account"])
    op.create_table(
        "usage_ledger_limit_process",
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
