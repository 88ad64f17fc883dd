"""Processes of their own: command lines, stacks, and Dagster's daemon and webserver at work.

A platform takes seconds to start, and its daemon looks around every 30 seconds: so all stories that
need the daemon share two platforms, and wait side by side. Each has a service of its own.
"""
