"""What Dagster's instance is made of in production: classes that a dagster.yaml of deploy/ names.

Dagster loads them by name in webserver, daemon and runs; nothing in the package imports them.
"""
