"""The tests, laid out as the package is: `unit` without servers, `integration` on the real stack."""
