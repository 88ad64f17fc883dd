"""The systems outside: one module for each, and Google's credentials.

A resource speaks one system's language and says its errors plainly; it knows the domain's tables
and months, and no asset. Settings come in as fields, filled from the environment by `definitions`.
"""
