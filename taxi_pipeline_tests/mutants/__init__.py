"""Mutation testing of the platform's heart, by Cosmic Ray: `make mutants`.

A mutant is a module with one small change: another operator, number, condition or decorator. Tests
that pass on it prove less than they seem to. Drawing mutants, running tests on them and reporting
the survivors belong here. What a mutation is, Cosmic Ray decides.
"""
