"""The domain: TLC's records as they are published and as this project keeps them.

Knows files, rows and columns. Does not know Dagster, any cloud or any database: everything here
runs on a folder of files, and its tests need no server.
"""
