"""Hostile files: what any bytes at all may do to the reading and the cleaning.

`target` is one attempt, `thrift`, `parquet` and `mutation` make files that are wrong in ways that
matter, `seeds` what they are made of. The command line runs a coverage-guided fuzzer over it:

    python -m taxi_pipeline_tests.fuzz csv --seconds 60
    python -m taxi_pipeline_tests.fuzz parquet --seconds 60

What it finds is kept in `found/`, and tried by `unit/tlc/test_hostile_bytes.py`.
"""
