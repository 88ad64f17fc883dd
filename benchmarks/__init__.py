"""What the project costs, measured side by side with other ways to do the same.

`python -m benchmarks` is the command; `ways` has what is measured, each in a process of its own,
`inputs` what they work on, `report` the table and the plot. Figures are for comparing within one
run.
"""
