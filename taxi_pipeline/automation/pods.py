"""Pods: what a run asks of a Kubernetes cluster, where each run is a pod of its own.

It stands in a tag of the run's job, which Dagster's K8sRunLauncher reads and all others ignore.
What a run may use at most, and what one without the tag asks for, is for deploy/kubernetes to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taxi_pipeline.tlc.services import FHV, FHVHV, YELLOW


@dataclass(frozen=True)
class PodResources:
    """What the cluster keeps for a run: cores, and GiB of memory and of scratch disk.

    Memory is some 0.6 GB whatever the month's rows. The disk holds its largest month: the published
    file twice while it is fetched, later once beside what is kept and what is rejected of it.
    """

    cores: int = 1
    memory: int = 1
    disk: int = 1

    @property
    def resources(self) -> dict[str, str]:
        """The requests as Kubernetes writes them."""
        return {
            "cpu": f"{self.cores}",
            "memory": f"{self.memory}Gi",
            "ephemeral-storage": f"{self.disk}Gi",
        }


# A month of fhvhv has 20 million rows; two cores clean and encode them side by side.
LARGEST = PodResources(cores=2, memory=2, disk=8)

_BY_JOB: Mapping[str, PodResources] = {
    YELLOW.trips.name: PodResources(disk=4),
    FHV.trips.name: PodResources(disk=4),
    FHVHV.trips.name: LARGEST,
}


def pod_tags(job: str) -> dict[str, Any]:
    """Return the tags of the job of that name, for its runs to ask for what they need."""
    requests = _BY_JOB.get(job, PodResources())
    resources = {"requests": requests.resources}
    return {"dagster-k8s/config": {"container_config": {"resources": resources}}}
