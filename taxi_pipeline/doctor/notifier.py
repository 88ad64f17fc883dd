"""The notifier: whether a message leaves. What Apprise makes of it is for whoever reads it."""

from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Finding, failed, ok, skipped


def check_notifier(context: Context) -> Finding:
    """Check that every service takes a message, by sending one."""
    if not context.notifier.url:
        return skipped("TAXI_NOTIFY_URL is not set: nobody is told of anything")
    problem = context.notifier.send("taxi doctor", "So arrive the messages of taxi_pipeline.")
    if problem:
        return failed(problem)
    return ok("a message was taken by every service; see that it has arrived")
