"""The platform without automation: what people do in the UI, and what is written then.

A script has started it in the background; SIGTERM ends it.
"""
