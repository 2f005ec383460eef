"""Run by Alembic, with the connection that `service.records.database.migrate` opened."""

from alembic import context

from service.records.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
