"""What Dagster makes of how an asset ends."""

import signal

import dagster as dg
import pytest

from taxi_pipeline.assets.reporting import RETRIES, retried_if_transient
from taxi_pipeline.errors import PermanentError, TransientError


def test_a_terminated_run_is_canceled_and_its_step_not_started_again() -> None:
    started = []

    @dg.asset(retry_policy=RETRIES)
    def terminated(context: dg.AssetExecutionContext) -> None:
        started.append(context.retry_number)
        with retried_if_transient():
            # what a click on Terminate does
            context.instance.report_run_canceling(context.run)
            signal.raise_signal(signal.SIGINT)

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([terminated], instance=instance, raise_on_error=False)
        (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert started == [0]


def tries_of(error: Exception) -> list[str]:
    """Return what the log of a run says of each try of a step that fails with the error."""

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2))
    def failing() -> None:
        with retried_if_transient():
            raise error

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([failing], instance=instance, raise_on_error=False)
    return [
        str(event.event_specific_data)
        for event in result.all_events
        if event.is_step_up_for_retry or event.is_step_failure
    ]


def test_a_transient_error_is_retried_and_the_reason_told_of_each_time() -> None:
    tries = tries_of(TransientError("a busy server"))
    assert len(tries) == 3
    assert all("a busy server" in said for said in tries)


def test_a_permanent_error_is_not_retried() -> None:
    (said,) = tries_of(PermanentError("a bad file"))
    assert "a bad file" in said


@pytest.mark.parametrize(("asked", "seconds"), [(90, 90), (0, RETRIES.delay)])
def test_a_server_that_asks_to_wait_is_heeded(asked: float, seconds: float) -> None:
    with pytest.raises(dg.RetryRequested) as caught, retried_if_transient():
        raise TransientError("a busy server", retry_after=asked)
    assert caught.value.seconds_to_wait == seconds
    assert caught.value.max_retries == RETRIES.max_retries
