"""The doctor, `taxi doctor`: whether a deployment can work, and if not, what to do about it.

A check asks one system one thing, by a call or a few, and writes nothing but where it says so.
There is a module for each system, and `checks` has the list; the verb is `cli`'s. Whether the
months in the stores add up is the ledger's to say.
"""
