"""The publisher's gate, which needs no engine: what it holds, and what passes."""

from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from taxi_pipeline_tests.containers.gate import Gate
from taxi_pipeline_tests.support.processes import until

JANUARY, FEBRUARY = ("green_trips", "2020-01"), ("green_trips", "2020-02")


def test_a_gate_that_was_open_holds_what_comes_once_it_is_closed() -> None:
    publisher = Starlette(routes=[Route("/{file}", lambda _: Response("rows"))])
    gate = Gate(publisher)
    client = TestClient(gate)

    def fetch(month: str) -> str:
        return client.get(f"/green_tripdata_{month}.parquet").text

    gate.open()
    assert fetch("2020-01") == "rows"
    gate.close()
    with ThreadPoolExecutor() as pool:
        held = pool.submit(fetch, "2020-02")
        until(lambda: gate.waiting == [FEBRUARY])
        assert fetch("2020-01") == "rows"  # a month that has passed stays so
        assert not held.done()
        gate.open()
        gate.close()
        assert held.result(timeout=60) == "rows"
    assert gate.waiting == []
    assert gate.passed == {JANUARY, FEBRUARY}
