"""What Google would say to the requests that the tests' processes send it, asked before they go.

The emulators take what Google refuses. So each request of Google's clients is compared at the HTTP
edge (`edge`) with Google's own description of its APIs (`discovery`), with the rules that stand in
its documentation alone (`rules`), and, where the platform sends it, with docs/requests.md (`page`),
which `flows` is recorded for. What emulators answer is no matter of this package.
"""
