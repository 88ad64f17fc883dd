"""Processes of their own: command lines, stacks, and Dagster's daemon and webserver at work.

A platform takes seconds to start, and its daemon looks around every 30 seconds: so all stories that
need the daemon share two platforms, on which each waits beside the others with a service of its own.
"""
