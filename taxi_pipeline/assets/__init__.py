"""The assets: what Dagster shows and runs, each thin enough to read like its own description.

An asset moves a month (or the zones) one step by calling the domain and the resources, and reports
what it did. Rules, file formats and systems are for the floors below.
"""
