"""PostgreSQL and Redis as child processes, for a machine that has neither."""

from app.embedded.stores import EmbeddedStores, start_embedded

__all__ = ["EmbeddedStores", "start_embedded"]
