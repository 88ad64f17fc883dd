"""What Dagster's Helm chart makes of values, transcribed from its templates.

Only what counts is here: the keys that the chart knows, Dagster's settings and the run launcher's.
`unit/deploy/test_chart.py` compares it with what the chart itself makes, where there is one.
"""

import re
from collections.abc import Mapping
from typing import Any

from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict

_POD = (
    "image env envConfigMaps envSecrets labels volumes volumeMounts annotations nodeSelector "
    "affinity tolerations podSecurityContext securityContext resources schedulerName "
    "readinessProbe livenessProbe startupProbe"
)
# The keys that the chart's values.yaml has, by section, of the sections in which ours sets some.
SECTIONS = {
    "": "global nameOverride fullnameOverride rbacEnabled imagePullSecrets dagsterWebserver "
    "computeLogManager pythonLogs dagster-user-deployments scheduler runLauncher postgresql "
    "generatePostgresqlPasswordSecret generateCeleryConfigSecret rabbitmq redis flower ingress "
    "dagsterDaemon busybox extraManifests migrate telemetry serviceAccount retention concurrency "
    "additionalInstanceConfig pipelineRun",
    "global": "postgresqlSecretName dagsterHome serviceAccountName celeryConfigSecretName "
    "dagsterInstanceConfigMap",
    "serviceAccount": "create name annotations",
    "dagster-user-deployments": "enabled enableSubchart includeInstance imagePullSecrets "
    "deployments",
    "dagster-user-deployments.deployments.0": f"{_POD} name dagsterApiGrpcArgs codeServerArgs port "
    "includeConfigInLaunchedRuns initContainers sidecarContainers deploymentStrategy service",
    "runLauncher": "type config",
    "runLauncher.config.k8sRunLauncher": "imagePullPolicy image jobNamespace loadInclusterConfig "
    "kubeconfigFile envConfigMaps envSecrets envVars volumes volumeMounts labels resources "
    "schedulerName failPodOnRunFailure securityContext runK8sConfig",
    "runLauncher.config.k8sRunLauncher.runK8sConfig": "containerConfig podSpecConfig "
    "podTemplateSpecMetadata jobSpecConfig jobMetadata",
    "dagsterDaemon": f"{_POD} enabled heartbeatTolerance logFormat runCoordinator runMonitoring "
    "runRetries sensors schedules deploymentLabels extraContainers extraPrependedInitContainers "
    "initContainerResources checkDbReadyInitContainer",
    "dagsterDaemon.runCoordinator": "enabled type config",
    "dagsterDaemon.runCoordinator.config.queuedRunCoordinator": "maxConcurrentRuns "
    "tagConcurrencyLimits dequeueIntervalSeconds dequeueUseThreads dequeueNumWorkers",
    "dagsterDaemon.runMonitoring": "enabled startTimeoutSeconds cancelTimeoutSeconds "
    "maxRuntimeSeconds pollIntervalSeconds maxResumeRunAttempts freeSlotsAfterRunEndSeconds",
    "dagsterDaemon.runRetries": "enabled maxRetries retryOnAssetOrOpFailure",
    "dagsterDaemon.sensors": "useThreads numWorkers numSubmitWorkers",
    "dagsterDaemon.schedules": "useThreads numWorkers numSubmitWorkers",
    "concurrency": "enabled pools runs",
    "concurrency.pools": "defaultLimit granularity opGranularityRunBuffer",
    "concurrency.runs": "maxConcurrentRuns tagConcurrencyLimits",
    "retention": "enabled schedule sensor autoMaterialize",
    "telemetry": "enabled",
    "computeLogManager": "type config",
    "computeLogManager.config.customComputeLogManager": "module class config",
    "postgresql": "enabled image postgresqlHost postgresqlUsername postgresqlPassword "
    "postgresqlDatabase postgresqlParams postgresqlScheme service",
    "dagsterWebserver": f"{_POD} replicaCount nameOverride pathPrefix service workspace "
    "enableReadOnly logFormat dbStatementTimeout dbPoolRecycle dbPoolMaxOverflow logLevel "
    "deploymentLabels extraContainers extraPrependedInitContainers initContainerResources "
    "checkDbReadyInitContainer",
    "dagsterWebserver.service": "type port annotations",
    "ingress": "enabled annotations labels ingressClassName dagsterWebserver "
    "readOnlyDagsterWebserver flower",
}


def snake(values: Any) -> Any:
    """Return what the chart writes into dagster.yaml of what it is told in its own spelling."""
    if not isinstance(values, Mapping):
        return values
    return {re.sub("([A-Z])", r"_\1", key).lower(): snake(value) for key, value in values.items()}


def dagster_settings(values: Any) -> dict[str, Any]:
    """Return the settings of the chart's dagster.yaml, without the database and the launcher.

    What the chart sets by default is left out: all of it is Dagster's default too, but for
    dequeue_use_threads, by which runs are launched four at a time.
    """
    daemon, logs = values["dagsterDaemon"], values["computeLogManager"]
    coordinator = daemon["runCoordinator"]
    switches = values["retention"], values["concurrency"], coordinator
    assert [switch["enabled"] for switch in switches] == [True] * 3
    return {
        "telemetry": values["telemetry"],
        "compute_logs": logs["config"]["customComputeLogManager"],
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": coordinator["type"],
            "config": snake(coordinator["config"]["queuedRunCoordinator"]),
        },
        **{
            section: {
                key: value for key, value in snake(values[section]).items() if key != "enabled"
            }
            for section in ("concurrency", "retention")
        },
        **snake(
            {key: daemon[key] for key in ("runRetries", "runMonitoring", "sensors", "schedules")}
        ),
        **values["additionalInstanceConfig"],
    }


def launcher_config(values: Any) -> dict[str, Any]:
    """Return the configuration of the run launcher in the chart's dagster.yaml."""
    config = values["runLauncher"]["config"]["k8sRunLauncher"]
    named = {key: [one["name"] for one in config[key]] for key in ("envConfigMaps", "envSecrets")}
    by_key = {**config, **named, "runK8sConfig": snake_keys(config["runK8sConfig"])}
    return snake_keys(by_key) | {
        "load_incluster_config": True,
        "job_namespace": "taxi",
        "service_account_name": values["global"]["serviceAccountName"],
        "dagster_home": values["global"]["dagsterHome"],
        "instance_config_map": "taxi-dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
    }


def snake_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Spell the keys as Dagster does, and leave what stands under them as Kubernetes has it."""
    return {next(iter(snake({key: None}))): value for key, value in values.items()}


def k8s_model(kind: type[Any], values: Mapping[str, Any]) -> Any:
    """Return the Kubernetes client's model; a key that it does not know raises."""
    return k8s_model_from_dict(kind, dict(k8s_snake_case_dict(kind, values)))
