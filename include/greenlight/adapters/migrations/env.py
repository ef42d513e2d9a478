"""Alembic's entry: runs the migrations on the connection that `adapters.database` opened."""

from __future__ import annotations

from alembic import context

from greenlight.adapters.database_tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
