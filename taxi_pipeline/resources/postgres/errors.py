"""What PostgreSQL's failures mean: which of them a retry can cure, and what to do about others."""

import re

from taxi_pipeline.io.classification import Diagnosis, diagnose_http
from taxi_pipeline.resources.postgres.statements import SCHEMA

# Of PostgreSQL, https://www.postgresql.org/docs/current/errcodes-appendix.html: a SQLSTATE, or the
# class that it begins with. Any other is permanent.
TRANSIENT_SQLSTATES = {
    "23505 of pg_catalog": "two have made something of the same name at once",
    "08": "the connection broke",
    "25P03": "the transaction was idle for longer than the server allows",
    "25P04": "the transaction took longer than the server allows",
    "40": "the transaction was rolled back: a deadlock",
    "53": "the server has no more disk, memory or connections",
    "55006": "others use the object",
    "55P03": "others hold the lock",
    "57014": "somebody cancelled the statement, or it took longer than it may",
    "57P01": "the server is being stopped",
    "57P02": "the server crashed",
    "57P03": "the server is starting",
    "57P05": "the session was idle for longer than the server allows",
    "58": "the server's disk or system failed",
}

# Of PostgreSQL, and of PgBouncer before it, where they refuse a connection: by psycopg such an
# error has no SQLSTATE. Any other refusal is permanent. Capitals and small letters count alike.
TRANSIENT_REFUSALS = {
    "starting up": "the server is starting",
    "not yet accepting": "the server is starting",
    "not accepting connections": "the server is a standby that takes none yet",
    "recovery mode": "the server recovers from a crash",
    "shutting down": "the server, or PgBouncer, is being stopped",
    "administrator command": "the server is being stopped, or somebody ended the session",
    "too many": "the server has no more connections, or its system no more files",
    "remaining connection slots": "the server has no more connections but an administrator's",
    "out of memory": "the server has no more memory",
    "no space left": "the server's disk is full",
    "authentication due to timeout": "the server was too busy to let us in",
    "no more connections allowed": "PgBouncer has no more connections",
    "connections exceeded": "PgBouncer has no more connections for the database or the role",
    "max client connections reached": "the pooler has no more connections",
    "resources exhaustion": "PgBouncer has no more memory",
    "cannot connect to server": "PgBouncer does not reach the server",
    "server login has been failing": "PgBouncer does not reach the server, and will try again",
    "server conn crashed": "PgBouncer's connection to the server broke",
    "query_wait_timeout": "PgBouncer had no connection to the server in time",
    "client_login_timeout": "PgBouncer was too busy to let us in",
}

# What to do, by SQLSTATE or its class.
ADVICE = {
    # a bound of ours is none that anybody could drop
    **dict.fromkeys(("23502", "23503", "23505"), "Drop the constraint that these rows break."),
    "42": f"Check the role's rights and what else uses the schema {SCHEMA}.",
    "2B": f"Check what else uses the schema {SCHEMA}.",
    "53": "See to the server's disk, memory and max_connections.",
    "55P03": "TAXI_POSTGRES_LOCK_TIMEOUT is how many seconds others are waited for.",
    "57014": "TAXI_POSTGRES_TIMEOUT is how many seconds a statement may take.",
}

_BUSY = re.compile("|".join(map(re.escape, TRANSIENT_REFUSALS)), re.IGNORECASE)


def diagnose(error: Exception) -> Diagnosis | None:
    """Return what an error of psycopg means.

    Args:
        error: An error of psycopg, or one that `diagnose_http` knows.

    Returns:
        The diagnosis, whose signs are the SQLSTATE and its class, if there is one, or the SQLSTATE
        of PostgreSQL's own catalog; None for an error that no system outside has caused.
    """
    import psycopg

    if not isinstance(error, psycopg.Error):
        return diagnose_http(error)
    # without the statement, which psycopg quotes in the error's own words
    message = ": ".join(filter(None, (error.diag.message_primary, error.diag.message_detail)))
    state = error.sqlstate
    if state:
        schema = error.diag.schema_name
        signs = (f"{state} of {schema}",) if schema == "pg_catalog" else (state, state[:2])
        transient = any(sign in TRANSIENT_SQLSTATES for sign in signs)
        return Diagnosis(transient, signs, message or None)
    refused = "FATAL:" in str(error)
    transient = isinstance(error, psycopg.OperationalError) and (
        not refused or bool(_BUSY.search(str(error)))
    )
    return Diagnosis(transient, (), message or None)
