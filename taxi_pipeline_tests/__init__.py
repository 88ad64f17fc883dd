"""The tests: `unit` without servers, laid out as the package is; `integration` on real ones."""
