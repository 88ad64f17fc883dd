"""What Dagster makes of how an asset ends."""

import signal

import dagster as dg
import pytest

from taxi_pipeline.assets import reporting
from taxi_pipeline.assets.reporting import RETRIES, retried_if_transient
from taxi_pipeline.errors import PermanentError, TransientError


def test_a_terminated_run_is_canceled_and_its_step_not_started_again() -> None:
    started = []

    @dg.asset(retry_policy=RETRIES)
    def terminated(context: dg.AssetExecutionContext) -> None:
        started.append(context.retry_number)
        with retried_if_transient(context):
            # what a click on Terminate does
            context.instance.report_run_canceling(context.run)
            signal.raise_signal(signal.SIGINT)

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([terminated], instance=instance, raise_on_error=False)
        (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert started == [0]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Do not wait, but note for how long."""
    waits: list[float] = []
    monkeypatch.setattr(reporting, "sleep", waits.append)
    return waits


def retrying() -> dg.DagsterInstance:
    """Return an instance whose failed runs are run again."""
    return dg.DagsterInstance.ephemeral(
        settings={"run_retries": {"enabled": True, "max_retries": 1}}
    )


def failed(error: Exception) -> tuple[str, list[str]]:
    """Return the sentence that a step fails with which always raises the error, and its log.

    Dagster would not run its run again by itself, though the instance's runs are retried.
    """

    @dg.asset(retry_policy=RETRIES)
    def failing(context: dg.AssetExecutionContext) -> None:
        with retried_if_transient(context):
            raise error

    with retrying() as instance:
        result = dg.materialize([failing], instance=instance, raise_on_error=False)
        (run,) = instance.get_runs()
        assert run.tags["dagster/will_retry"] == "false"
        logged = [entry.user_message for entry in instance.all_logs(result.run_id)]
    (end,) = result.get_step_failure_events()
    assert end.step_failure_data.user_failure_data is not None
    return str(end.step_failure_data.user_failure_data.description), logged


def test_a_transient_error_is_retried_and_the_reason_told_of_each_time(waits: list[float]) -> None:
    said, logged = failed(TransientError("A busy server."))
    assert said == "A busy server. It was tried 5 times."
    reasons = [entry for entry in logged if entry.endswith("s: A busy server.")]
    assert [entry.partition(" failed")[0] for entry in reasons] == [
        f"Try {number} of 5" for number in range(1, 5)
    ]
    assert waits == [pytest.approx(2 * (2**number - 1), abs=2) for number in range(1, 5)]


def test_a_permanent_error_is_not_retried(waits: list[float]) -> None:
    said, _ = failed(PermanentError("A bad file."))
    assert said == "A bad file."
    assert waits == []


def test_a_server_that_asks_to_wait_is_heeded_and_backed_off_from(waits: list[float]) -> None:
    failed(TransientError("A busy server.", retry_after=90))
    assert waits == [pytest.approx(90 + 2 * (2**number - 1), abs=2) for number in range(1, 5)]


@pytest.mark.parametrize("asked", [601.0, float("inf")])
def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(
    waits: list[float], asked: float
) -> None:
    said, _ = failed(TransientError("A busy server.", retry_after=asked))
    assert said.startswith("A busy server. It asks to wait for ")
    assert waits == []


def test_a_run_that_waits_for_the_next_try_can_be_terminated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "sleep", lambda _: signal.raise_signal(signal.SIGINT))

    @dg.asset(retry_policy=RETRIES)
    def failing(context: dg.AssetExecutionContext) -> None:
        with retried_if_transient(context):
            context.instance.report_run_canceling(context.run)
            raise TransientError("A busy server.")

    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([failing], instance=instance, raise_on_error=False)
        (run,) = instance.get_runs()
    assert run.status is dg.DagsterRunStatus.CANCELED
