"""Where changes go: rows in PostgreSQL, and from there, through an outbox, documents in Elasticsearch."""
