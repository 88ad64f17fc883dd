"""deploy/kubernetes, as far as it can be looked at without a cluster and without Helm.

What the chart makes of the values is in `support/chart.py`, after its templates (`test_chart.py`
asks the chart itself). What comes of that is given to the code that would get it: Dagster's
instance, K8sRunLauncher, and the Kubernetes client's models, which refuse a key that they do not
know.
"""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance import InstanceRef
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import (  # type: ignore[import-untyped]
    V1LabelSelector,
    V1NetworkPolicy,
    V1PodSpec,
    V1Probe,
    V1ServiceAccount,
)

from taxi_pipeline.automation.pods import LARGEST
from taxi_pipeline.definitions import defs
from taxi_pipeline_tests.support.chart import (
    SECTIONS,
    dagster_settings,
    k8s_model,
    launcher_config,
)

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
UID = 10001


@pytest.fixture(scope="module")
def values() -> Any:
    return yaml.safe_load((FOLDER / "values.yaml").read_text())


@pytest.fixture(scope="module")
def servers(values: Any) -> dict[str, Any]:
    """Return the three that run all the time, as the chart is told of them."""
    (code_location,) = values["dagster-user-deployments"]["deployments"]
    return {
        "code location": code_location,
        "daemon": values["dagsterDaemon"],
        "webserver": values["dagsterWebserver"],
    }


@pytest.fixture(scope="module")
def launcher(values: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[K8sRunLauncher]:
    """Return the run launcher that Dagster makes of the chart's whole dagster.yaml."""
    home = tmp_path_factory.mktemp("home")
    password = {"env": "DAGSTER_PG_PASSWORD"}
    database = {"username": "dagster", "password": password, "hostname": "x", "db_name": "dagster"}
    whole = dagster_settings(values) | {
        "storage": {"postgres": {"postgres_db": database}},
        "run_launcher": {
            "module": "dagster_k8s",
            "class": values["runLauncher"]["type"],
            "config": launcher_config(values),
        },
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(whole))
    with patch("dagster_k8s.launcher.load_kubernetes_config"):  # there is no cluster
        launcher = InstanceRef.from_dir(str(home)).run_launcher
    assert isinstance(launcher, K8sRunLauncher)
    yield launcher
    launcher.dispose()


def pod_of(launcher: K8sRunLauncher, job: str) -> V1PodSpec:
    """Return the pod that a run of the job is."""
    tags = {} if job not in JOBS else JOBS[job].run_tags
    run = dg.DagsterRun(job_name=job, tags=tags)
    context = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
    made = construct_dagster_k8s_job(
        context.get_k8s_job_config("image", launcher),
        args=["dagster"],
        job_name="dagster-run",
        user_defined_k8s_config=context.run_k8s_config,
    )
    return made.spec.template.spec


JOBS = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}


def size(quantity: str) -> float:
    """Return a quantity of Kubernetes as a number."""
    number, unit = re.fullmatch(r"(\d+)(m|Mi|Gi|)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1.0, "m": 0.001, "Mi": 2.0**20, "Gi": 2.0**30}[unit]


def test_dagsters_settings_are_those_of_every_other_deployment(values: Any) -> None:
    ours = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    del ours["storage"]
    assert dagster_settings(values) == ours


def test_dagsters_memory_is_a_database_outside(values: Any) -> None:
    told = values["postgresql"]
    assert not told["enabled"]
    assert told["postgresqlParams"] == {"sslmode": "require"}


def test_no_password_stands_in_the_values(values: Any) -> None:
    assert "postgresqlPassword" not in values["postgresql"]
    assert not values["generatePostgresqlPasswordSecret"]
    assert not re.search(r"(?i)password:|key\.json|postgres(ql)?://", read("values.yaml"))


def read(name: str) -> str:
    """Return a file's text without its comments."""
    return re.sub(r"(?m)(^|\s)#.*$", "", (FOLDER / name).read_text())


def test_no_key_is_one_that_the_chart_does_not_have(values: Any) -> None:
    for section, keys in SECTIONS.items():
        told = values
        for step in filter(None, section.split(".")):
            told = told[int(step)] if step.isdecimal() else told[step]
        assert told.keys() <= set(keys.split()), section


def test_the_readme_says_how_to_fill_in_what_the_values_leave_open() -> None:
    readme = (FOLDER / "README.md").read_text()
    for name in set(re.findall(r"\$\{(\w+)\}", read("values.yaml"))):
        assert f"`{name}`" in readme


def test_the_chart_is_of_dagsters_version() -> None:
    for name in ("values.yaml", "README.md"):
        assert set(re.findall(r"1\.13\.\d+", (FOLDER / name).read_text())) == {version("dagster")}


@pytest.mark.parametrize("job", [*JOBS, "__ASSET_JOB"])
def test_a_run_asks_for_what_its_service_needs(launcher: K8sRunLauncher, job: str) -> None:
    (container,) = pod_of(launcher, job).containers
    requests, limits = container.resources.requests, container.resources.limits
    disk = {"fhvhv_trips": "8Gi", "yellow_trips": "4Gi", "fhv_trips": "4Gi", "__ASSET_JOB": "8Gi"}
    assert requests["ephemeral-storage"] == disk.get(job, "1Gi")
    assert (requests == LARGEST.resources) == (job in ("fhvhv_trips", "__ASSET_JOB"))
    for kind, most in limits.items():
        assert size(requests[kind]) <= size(most)
        assert size(requests[kind]) <= size(LARGEST.resources[kind])


def test_a_run_gets_the_settings_the_secrets_and_room_on_its_disk(launcher: K8sRunLauncher) -> None:
    pod = pod_of(launcher, "yellow_trips")
    (container,) = pod.containers
    maps = [source.config_map_ref.name for source in container.env_from if source.config_map_ref]
    secrets = [source.secret_ref.name for source in container.env_from if source.secret_ref]
    assert (maps, secrets) == (["taxi-env"], ["taxi-secrets"])
    assert {variable.name for variable in container.env} >= {"DAGSTER_PG_PASSWORD", "DAGSTER_HOME"}
    assert {mount.mount_path for mount in container.volume_mounts} >= {"/tmp"}
    assert pod.service_account_name == "taxi-pipeline"
    assert pod.automount_service_account_token is False


def test_no_pod_is_root_or_may_become_it(
    launcher: K8sRunLauncher, servers: Mapping[str, Any]
) -> None:
    pods = [pod_of(launcher, "yellow_trips"), *map(server_pod, servers.values())]
    for pod in pods:
        assert pod.security_context.run_as_non_root
        assert pod.security_context.run_as_user == UID
        assert pod.security_context.seccomp_profile.type == "RuntimeDefault"
        (container,) = pod.containers
        assert container.security_context.allow_privilege_escalation is False
        assert container.security_context.capabilities.drop == ["ALL"]
        assert container.security_context.read_only_root_filesystem
        mounted = {mount.name: mount.mount_path for mount in container.volume_mounts}
        written = {volume.name for volume in pod.volumes if volume.empty_dir is not None}
        assert {mounted[name] for name in written} == {"/tmp", "/opt/dagster/dagster_home"}
    assert f"{UID}" in (ROOT / "Dockerfile").read_text()


def server_pod(told: Mapping[str, Any]) -> V1PodSpec:
    """Return the pod of a server, as far as it is told of here."""
    container = {"name": "dagster"} | {
        key: told[key] for key in ("securityContext", "resources", "volumeMounts")
    }
    return k8s_model(
        V1PodSpec,
        {
            "containers": [container],
            "securityContext": told["podSecurityContext"],
            "volumes": told["volumes"],
        },
    )


def test_every_server_says_what_it_needs(servers: Mapping[str, Any]) -> None:
    for told in servers.values():
        (container,) = server_pod(told).containers
        assert container.resources.requests.keys() == {"cpu", "memory", "ephemeral-storage"}
        for kind, most in container.resources.limits.items():
            assert size(container.resources.requests[kind]) <= size(most)


def test_servers_are_asked_whether_they_live(servers: Mapping[str, Any]) -> None:
    webserver, code_location = servers["webserver"], servers["code location"]
    for told in (webserver, code_location):
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            probe = {key: value for key, value in told[name].items() if key != "enabled"}
            made = k8s_model(V1Probe, probe)
            assert made.timeout_seconds <= made.period_seconds
            if told is webserver:
                assert made.http_get.port == webserver["service"]["port"]
    assert servers["daemon"]["heartbeatTolerance"]


def test_one_image_is_all_there_is(servers: Mapping[str, Any], values: Any) -> None:
    images = [told["image"] for told in servers.values()]
    assert images == [images[0]] * 3
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    assert "image" not in launcher  # the code location's
    assert launcher["imagePullPolicy"] == images[0]["pullPolicy"]


def test_every_server_has_dagsters_settings_and_reaches_the_webserver(
    servers: Mapping[str, Any], values: Any
) -> None:
    assert values["dagster-user-deployments"]["includeInstance"]  # the others' pods always have
    settings = launcher_config(values)["instance_config_map"]
    assert values["global"]["dagsterInstanceConfigMap"] == settings
    url = f"http://taxi-dagster-webserver:{values['dagsterWebserver']['service']['port']}"
    for told in servers.values():
        assert told["env"] == [{"name": "TAXI_DAGSTER_API_URL", "value": url}]
    assert "upgrade --install taxi dagster/dagster" in (FOLDER / "README.md").read_text()


def test_the_code_location_serves_the_definitions(servers: Mapping[str, Any]) -> None:
    told = servers["code location"]
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())
    module = workspace["load_from"][0]["python_module"]["module_name"]
    assert told["dagsterApiGrpcArgs"] == ["-m", module]
    assert told["port"] == 4000
    assert not told["includeConfigInLaunchedRuns"]["enabled"]


def test_nobody_outside_reaches_the_webserver(values: Any) -> None:
    assert values["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    assert not values["ingress"]["enabled"]
    policy = yaml.safe_load((FOLDER / "networkpolicy.yaml").read_text())
    made = k8s_model(V1NetworkPolicy, policy)
    assert made.spec.policy_types == ["Ingress"]
    assert made.spec.pod_selector == V1LabelSelector()  # every pod
    (rule,) = made.spec.ingress
    (source,) = rule._from
    assert source.pod_selector is not None
    assert source.namespace_selector is None
    assert source.ip_block is None


def test_runs_reach_neither_webserver_nor_code_location(launcher: K8sRunLauncher) -> None:
    origin = RepositoryPythonOrigin("python", ModuleCodePointer("taxi_pipeline", "defs"), "image")
    run = dg.DagsterRun("yellow_trips", job_code_origin=JobPythonOrigin("yellow_trips", origin))
    instance = MagicMock(spec=dg.DagsterInstance)
    launcher.register_instance(instance)
    with patch.object(launcher, "_api_client") as cluster:
        launcher._launch_k8s_job_with_args("a-run", [], run)
    (asked,) = cluster.create_namespaced_job_with_retries.call_args_list
    labels = asked.kwargs["body"].spec.template.metadata.labels
    policy = yaml.safe_load((FOLDER / "networkpolicy.yaml").read_text())
    (source,) = k8s_model(V1NetworkPolicy, policy).spec.ingress[0]._from
    (expression,) = source.pod_selector.match_expressions
    assert source.pod_selector.match_labels is None
    assert expression.operator == "DoesNotExist"
    assert expression.key in labels
    # by the chart's templates the servers have these
    assert expression.key not in (
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "component",
        "deployment",
    )


def test_google_knows_the_pods_without_a_key(values: Any) -> None:
    told = values["serviceAccount"]
    made = k8s_model(
        V1ServiceAccount,
        {"metadata": {"name": told["name"], "annotations": told["annotations"]}},
    )
    assert made.metadata.annotations.keys() == {"iam.gke.io/gcp-service-account"}
    iam = (ROOT / "deploy" / "terraform" / "iam.tf").read_text()
    assert f"/{told['name']}]" in iam
    assert values["global"]["serviceAccountName"] == told["name"]
