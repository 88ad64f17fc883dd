"""Automation: when things run by themselves, and who is told what came of it.

One module for each schedule, sensor or kind of message. None of them moves data: they ask Dagster
to run jobs, and the same jobs run by hand.
"""
