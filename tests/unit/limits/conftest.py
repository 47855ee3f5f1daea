"""A ledger in a file, and one in a real PostgreSQL: those of the ledger's own tests."""

from unit.ledger.conftest import database, postgres, store

__all__ = ["database", "postgres", "store"]
