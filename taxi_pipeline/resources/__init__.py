"""The systems outside: Dagster's resources for them, and what these share.

`publisher`, `lake`, `warehouse`, `database` and `notifier` are the resources. A resource speaks one
system's language and says its errors plainly; it knows the domain's tables and months, and no
asset. `environment` fills the resources' fields from environment variables.
"""
