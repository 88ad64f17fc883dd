"""`python -m taxi_pipeline` is the command line `taxi`."""

from taxi_pipeline.cli import main

main(prog_name="taxi")
