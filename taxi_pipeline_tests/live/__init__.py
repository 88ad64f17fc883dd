"""Live platforms: Dagster's daemon and webserver at work, on two platforms for all the stories.

A platform takes seconds to start, and its daemon looks around every 30 seconds: so the stories of a
platform wait side by side. Each has a service of its own.
"""
