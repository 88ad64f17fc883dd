"""What Dagster makes of how an asset ends."""

import signal

import dagster as dg

from taxi_pipeline.assets.reporting import RETRIES, permanent_errors_fail


def test_a_terminated_run_is_canceled_and_its_step_not_started_again() -> None:
    started = []

    @dg.asset(retry_policy=RETRIES)
    def terminated(context: dg.AssetExecutionContext) -> None:
        started.append(context.retry_number)
        with permanent_errors_fail():
            # what a click on Terminate does
            context.instance.report_run_canceling(context.run)
            signal.raise_signal(signal.SIGINT)

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([terminated], instance=instance, raise_on_error=False)
        (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert started == [0]
