"""What the project costs, measured side by side with other ways to do the same.

`python -m benchmarks` is the command. `steps` says what is measured beside what; `ways`, `cleaning`
and `peers` how, each in a process of its own (`processes`); `inputs` has what they work on,
`report` the table and the plots. `history` and `scale` run all of TLC's months. Figures are for
comparing within one run.
"""
