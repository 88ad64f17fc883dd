"""The assets: what Dagster shows and runs, each thin enough to read like its own description.

An asset moves a month (or the zones) one step by calling the lake or a sink, and reports what it
did. Rules, file formats, the lake's protocol and systems are for the floors below.
"""
