"""Tests on the real things: PostgreSQL, Google's clients over HTTP, Dagster's own processes."""
