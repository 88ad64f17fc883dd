"""The doctor, `taxi doctor`: whether a deployment can work, and if not, what to do about it.

A check asks one system one thing, by a call or a few, and writes nothing but where it says so.
There is a module for each system, `checks` has the list, `command` the verb. Whether the months in
the stores add up is the ledger's to say.

The command line imports the package at each start, so slow libraries are imported in the checks.
"""
