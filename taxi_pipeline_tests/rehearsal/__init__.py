"""The rehearsal: production's processes on one machine, and what befalls them while they work.

Dagster's storage is a PostgreSQL of its own, and code server, webserver, daemon and the workers of
runs are processes with environments of their own, as their containers would be.
"""
