"""Priorities: whose runs leave Dagster's queue first where more wait than may go on at once.

Of equal ones the oldest goes first. A run that a person launches in the UI has none, which is 0; so
has a backfill from there, and a schedule's recount. What each run is for is said where it is
requested.
"""

TAG = "dagster/priority"

# What people wait for: new months and files, the marts of new months, and what failed.
FRESH = {TAG: "10"}

# What may take days, and fills the lake: a backfill, and the months that are asked for in turn.
FILLING = {TAG: "-10"}
