"""What the resources share in speaking with systems outside: errors, limits, disk, credentials.

Nothing here knows a table, a month or an asset; what one system alone needs is in its resource.
"""
