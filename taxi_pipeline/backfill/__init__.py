"""Many months at once, from the command line: what they will take, launched and watched.

A month is a run of the service's assets, as the UI's *Materialize* makes it; Dagster's daemon and
queue do the work. `months` chooses, `survey` and `unfinished` ask what there is, `pace`, `prices`
and `estimate` reckon, `launch` launches and follows, `view` shows. Nothing here moves trips.
"""
