"""The guard before Arrow: what a published file may claim and unpack to, before it is believed.

Arrow gets memory for whatever a page of a Parquet file says of itself, so `pages` reads the footer
and each page's header first, and `limits` holds them against bounds. A first reading in a process
of bounded memory was tried instead. It costs 0.3 seconds a file, and does not refuse a file of 2 MB
that unpacks to 400 million rows, since these stream through little memory.
"""
