"""The first ledger."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from alembic.operations import Operations

from opentelemetry.instrumentation.open_webui.ledger.schema import Id

revision = "0001"
down_revision = None

_COUNTS: Final = ("answers", "errors", "unpriced", "estimated")
_AMOUNTS: Final = ("input", "output", "cache_read", "cache_write", "reasoning", "cost")

_SQLITE: Final = (
    *(
        f"""CREATE TRIGGER usage_ledger_call_{word}_refused BEFORE {word} ON usage_ledger_call
        WHEN NOT EXISTS (SELECT 1 FROM usage_ledger_door)
        BEGIN SELECT RAISE(ABORT, 'usage_ledger_call is append-only'); END"""
        for word in ("UPDATE", "DELETE")
    ),
    *(
        f"""CREATE TRIGGER usage_ledger_audit_{word}_refused BEFORE {word} ON usage_ledger_audit
        BEGIN SELECT RAISE(ABORT, 'usage_ledger_audit is append-only'); END"""
        for word in ("UPDATE", "DELETE")
    ),
)
_POSTGRES: Final = (
    """CREATE FUNCTION usage_ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$""",
    """CREATE FUNCTION usage_ledger_refuse_call() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE is_open boolean;
    BEGIN
      EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I.usage_ledger_door)', TG_TABLE_SCHEMA)
        INTO is_open;
      IF NOT is_open THEN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END IF;
      RETURN NULL;
    END $$""",
    """CREATE TRIGGER usage_ledger_call_refused BEFORE UPDATE OR DELETE OR TRUNCATE
    ON usage_ledger_call FOR EACH STATEMENT EXECUTE FUNCTION usage_ledger_refuse_call()""",
    """CREATE TRIGGER usage_ledger_audit_refused BEFORE UPDATE OR DELETE OR TRUNCATE
    ON usage_ledger_audit FOR EACH STATEMENT EXECUTE FUNCTION usage_ledger_refuse()""",
)
_VIEW: Final = """
CREATE VIEW usage_ledger AS SELECT
  {id} AS id, {parent} AS parent_id, {time} AS time, c.duration / 1000.0 AS seconds,
  c.first_chunk / 1000.0 AS seconds_to_first_chunk, u.user_id, s.user_name, m.groups,
  l.source, k.auth, k.route, k.task, k.operation, l.provider, l.model, l.picked,
  c.input AS input_tokens, c.output AS output_tokens, c.cache_read AS cache_read_tokens,
  c.cache_write AS cache_write_tokens, c.reasoning AS reasoning_tokens, k.estimated, c.units,
  c.cost / 1000000000.0 AS usd, k.price_source, k.unpriced, k.error, l.imported,
  {trace} AS trace_id
FROM usage_ledger_call c
JOIN usage_ledger_user u ON u.no = c.user_no
JOIN usage_ledger_standing s ON s.no = c.standing_no
JOIN usage_ledger_membership m ON m.no = s.membership_no
JOIN usage_ledger_kind k ON k.no = c.kind_no
JOIN usage_ledger_line l ON l.no = k.line_no
"""
_SHOWN: Final = {
    "sqlite": {
        "id": "lower(hex(c.id))",
        "parent": "lower(hex(c.parent))",
        "trace": "lower(hex(c.trace))",
        "time": "datetime(c.at + 1577836800, 'unixepoch')",
    },
    "postgresql": {
        "id": "c.id",
        "parent": "c.parent",
        "trace": "replace(c.trace::text, '-', '')",
        "time": "to_timestamp(c.at::bigint + 1577836800)",
    },
}


def upgrade(op: Operations) -> None:
    """Make the tables, what guards them, and the view."""
    _texts(op)
    _calls(op)
    for owner in ("standing", "membership"):
        _sums(op, owner)
    _keeping(op)
    dialect = op.get_bind().dialect.name
    for statement in _SQLITE if dialect == "sqlite" else _POSTGRES:
        op.execute(statement)
    op.execute(_VIEW.format(**_SHOWN[dialect]))


def _number() -> sa.Column[int]:
    return sa.Column("no", sa.Integer, primary_key=True)


def _digest() -> sa.Column[bytes]:
    return sa.Column("digest", sa.LargeBinary(16), nullable=False, unique=True)


def _key(name: str, kind: Any = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str, *, optional: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=optional)


def _texts(op: Operations) -> None:
    op.create_table(
        "usage_ledger_user", _number(), sa.Column("user_id", sa.Text, nullable=False, unique=True)
    )
    op.create_table(
        "usage_ledger_group", _number(), _digest(), _text("group_id", optional=True), _text("name")
    )
    op.create_table("usage_ledger_membership", _number(), _digest(), _text("groups"))
    op.create_table(
        "usage_ledger_membership_group",
        _key("membership_no"),
        _key("group_no"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "usage_ledger_membership_of_group", "usage_ledger_membership_group", ["group_no"]
    )
    op.create_table(
        "usage_ledger_standing",
        _number(),
        _digest(),
        sa.Column("user_no", sa.Integer, nullable=False),
        _text("user_name", optional=True),
        sa.Column("membership_no", sa.Integer, nullable=False),
    )
    op.create_index("usage_ledger_standing_of_user", "usage_ledger_standing", ["user_no"])
    op.create_table(
        "usage_ledger_line",
        _number(),
        _digest(),
        *(_text(name) for name in ("source", "provider", "model", "picked")),
        sa.Column("imported", sa.Boolean, nullable=False),
    )
    op.create_table(
        "usage_ledger_kind",
        _number(),
        _digest(),
        sa.Column("line_no", sa.Integer, nullable=False),
        _text("auth"),
        _text("route", optional=True),
        _text("task"),
        _text("operation"),
        _text("price_source", optional=True),
        _text("error", optional=True),
        sa.Column("estimated", sa.SmallInteger, nullable=False),
        sa.Column("unpriced", sa.Boolean, nullable=False),
    )


def _calls(op: Operations) -> None:
    op.create_table(
        "usage_ledger_call",
        sa.Column("cost", sa.BigInteger),
        sa.Column("id", Id, primary_key=True),
        sa.Column("trace", Id),
        sa.Column("parent", Id),
        *(
            sa.Column(name, sa.Integer, nullable=False)
            for name in ("at", "user_no", "standing_no", "kind_no", "duration")
        ),
        *(
            sa.Column(name, sa.Integer)
            for name in ("first_chunk", "input", "output", "cache_read", "cache_write", "reasoning")
        ),
        sa.Column("chat", sa.LargeBinary),
        sa.Column("units", sa.Text),
    )
    op.create_index(
        "usage_ledger_call_of_user", "usage_ledger_call", ["user_no", sa.text("(at / 60)")]
    )


def _sums(op: Operations, owner: str) -> None:
    op.create_table(
        f"usage_ledger_{owner}_sum",
        _key(f"{owner}_no"),
        _key("grain", sa.SmallInteger),
        _key("bucket"),
        _key("line_no"),
        sa.Column("calls", sa.Integer, nullable=False),
        *(sa.Column(name, sa.Integer) for name in _COUNTS),
        *(sa.Column(name, sa.BigInteger) for name in _AMOUNTS),
        sqlite_with_rowid=False,
    )


def _keeping(op: Operations) -> None:
    op.create_table(
        "usage_ledger_fact",
        sa.Column("name", sa.Text, primary_key=True),
        _text("value"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_ledger_audit",
        _number(),
        sa.Column("at", sa.BigInteger, nullable=False),
        _text("action"),
        _text("detail"),
    )
    op.create_table(
        "usage_ledger_door",
        sa.Column("reason", sa.Text, primary_key=True),
        sqlite_with_rowid=False,
    )
