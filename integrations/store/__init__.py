"""Incidents and remediations in a SQL database."""

from integrations.store.settings import StoreSettings
from integrations.store.sql import SqlStore

__all__ = ["SqlStore", "StoreSettings"]
