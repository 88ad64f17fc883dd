"""The embedded stack: the real servers, or emulators of them, on a laptop with only Python.

`taxi local CMD` runs CMD inside it. Everything here is for development and tests; nothing in
production imports it, and it imports no resource: the two meet in environment variables alone.
"""
