"""Run by Alembic for each command: the steps, in the transaction of the connection that `schema` hands over."""

from alembic import context

from integrations.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
