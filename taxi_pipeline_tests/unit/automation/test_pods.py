import json

import pytest

from taxi_pipeline.automation.pods import LARGEST, PodResources, pod_tags
from taxi_pipeline.definitions import defs

JOBS = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_tells_dagster_what_its_runs_ask_of_a_cluster(name: str) -> None:
    from dagster_k8s.job import get_user_defined_k8s_config

    tags = JOBS[name].run_tags
    asked = get_user_defined_k8s_config(tags)
    resources = asked.container_config["resources"]
    assert resources.keys() == {"requests"}
    assert resources["requests"].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert json.loads(tags["dagster-k8s/config"]) == pod_tags(name)["dagster-k8s/config"]


def test_a_month_of_fhvhv_is_the_largest() -> None:
    asked = {name: pod_tags(name)["dagster-k8s/config"] for name in JOBS}
    of_largest = {"container_config": {"resources": {"requests": LARGEST.resources}}}
    assert [name for name, tag in asked.items() if tag == of_largest] == ["fhvhv_trips"]


def test_requests_are_written_as_kubernetes_reads_them() -> None:
    assert PodResources(cores=2, memory=3, disk=4).resources == {
        "cpu": "2",
        "memory": "3Gi",
        "ephemeral-storage": "4Gi",
    }
