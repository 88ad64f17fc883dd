"""deploy/terraform, as far as it can be looked at without Google's provider."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from hcl2.utils import SerializationOptions

from taxi_pipeline.io.permissions import (
    BUCKET_PERMISSIONS,
    DATASET_PERMISSIONS,
    PROJECT_PERMISSIONS,
)
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.support.contracts.permissions import OF_THE_DOCTOR, ROLES

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "terraform"
_PLAIN = SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)


@pytest.fixture(scope="module")
def blocks() -> dict[str, list[Any]]:
    """Return the blocks of all files, by kind."""
    found: dict[str, list[Any]] = {}
    for path in sorted(FOLDER.glob("*.tf")):
        for kind, its in hcl2.loads(path.read_text(), serialization_options=_PLAIN).items():
            found.setdefault(kind, []).extend(its)
    return found


def named(blocks: list[Any]) -> dict[str, Any]:
    """Return blocks of one label by it."""
    return {name: body for block in blocks for name, body in block.items()}


def resources(blocks: dict[str, list[Any]], kind: str) -> dict[str, Any]:
    """Return the resources of a kind by their names."""
    return named([block[kind] for block in blocks["resource"] if kind in block])


def mentioned(blocks: dict[str, list[Any]], pattern: str) -> set[str]:
    """Return what matches in the code, not in comments."""
    return set(re.findall(pattern, json.dumps(blocks)))


def test_every_variable_that_is_used_is_declared_and_the_other_way_round(
    blocks: dict[str, list[Any]],
) -> None:
    outside = {kind: its for kind, its in blocks.items() if kind != "variable"}
    assert mentioned(outside, r"\bvar\.(\w+)") == named(blocks["variable"]).keys()
    assert mentioned(blocks, r"\bvar\.(\w+)") == named(blocks["variable"]).keys()


def test_every_variable_says_what_it_is_and_refuses_what_it_cannot_be(
    blocks: dict[str, list[Any]],
) -> None:
    for name, variable in named(blocks["variable"]).items():
        assert variable["description"].endswith("."), name
        if variable["type"] != "bool":
            (validation,) = variable["validation"]
            assert f"var.{name}" in validation["condition"]
            assert validation["error_message"].endswith(".")


def test_every_local_value_is_used_and_set(blocks: dict[str, list[Any]]) -> None:
    (its,) = blocks["locals"]
    assert mentioned(blocks, r"\blocal\.(\w+)") == its.keys()


def test_every_resource_that_is_named_is_there(blocks: dict[str, list[Any]]) -> None:
    made = {
        f"{kind}.{name}"
        for block in blocks["resource"]
        for kind, its in block.items()
        for name in its
    }
    assert mentioned(blocks, r"\b((?:google|random)_\w+\.\w+)") <= made


def test_what_several_of_a_resource_are_is_named_by_its_key(blocks: dict[str, list[Any]]) -> None:
    several = {
        f"{kind}.{name}"
        for block in blocks["resource"]
        for kind, its in block.items()
        for name, body in its.items()
        if {"count", "for_each"} & body.keys()
    }
    depended = mentioned(blocks, r"depends_on[^\]]*?((?:google|random)_\w+\.\w+)")
    attributes = mentioned(blocks, r"\b((?:google|random)_\w+\.\w+)\.\w+")
    assert not several & attributes
    assert several & depended


def test_every_provider_is_pinned(blocks: dict[str, list[Any]]) -> None:
    (terraform,) = blocks["terraform"]
    (providers,) = terraform["required_providers"]
    kinds = {kind.partition("_")[0] for block in blocks["resource"] for kind in block}
    assert providers.keys() == kinds
    assert all(provider["version"] for provider in providers.values())
    assert terraform["required_version"]


def test_the_bucket_is_nobody_elses_and_forgets_nothing_at_once(
    blocks: dict[str, list[Any]],
) -> None:
    (bucket,) = resources(blocks, "google_storage_bucket").values()
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["public_access_prevention"] == "enforced"
    assert bucket["force_destroy"] is False
    assert bucket["versioning"] == [{"enabled": True}]
    assert bucket["soft_delete_policy"] == [{"retention_duration_seconds": 0}]  # versions are kept
    assert bucket["lifecycle"] == [{"prevent_destroy": True}]


def rules(blocks: dict[str, list[Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    (bucket,) = resources(blocks, "google_storage_bucket").values()
    for rule in bucket["lifecycle_rule"]:
        (condition,), (action,) = rule["condition"], rule["action"]
        yield condition, action


def test_objects_in_use_are_never_deleted_by_their_age(blocks: dict[str, list[Any]]) -> None:
    instance = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    logs = f"{instance['compute_logs']['config']['prefix']}/"
    deleted: dict[str, int] = {}
    for condition, action in rules(blocks):
        assert condition["matches_prefix"]
        if action["type"] == "Delete" and condition["with_state"] == "LIVE":
            deleted |= dict.fromkeys(condition["matches_prefix"], condition["age"])
    assert deleted == {logs: 90}


def test_replaced_objects_go_after_some_days(blocks: dict[str, list[Any]]) -> None:
    days = {
        prefix: condition["days_since_noncurrent_time"]
        for condition, action in rules(blocks)
        if condition["with_state"] == "ARCHIVED" and action["type"] == "Delete"
        for prefix in condition["matches_prefix"]
    }
    lake = dict.fromkeys(("raw/", "cleaned/", "rejected/"), "${var.noncurrent_days}")
    assert days == {**lake, "dagster-logs/": 1, "status/": 1}


def test_old_raw_and_rejected_objects_cost_less(blocks: dict[str, list[Any]]) -> None:
    moved = [
        (*condition["matches_prefix"], action["storage_class"])
        for condition, action in rules(blocks)
        if action["type"] == "SetStorageClass"
    ]
    assert moved == [("raw/", "NEARLINE"), ("raw/", "COLDLINE"), ("rejected/", "NEARLINE")]


def test_dataset_and_bucket_lie_in_one_place(blocks: dict[str, list[Any]]) -> None:
    (bucket,) = resources(blocks, "google_storage_bucket").values()
    (dataset,) = resources(blocks, "google_bigquery_dataset").values()
    assert bucket["location"] == dataset["location"] == "${var.location}"
    variables = named(blocks["variable"])
    assert variables["location"]["default"] == variables["region"]["default"]
    assert dataset["delete_contents_on_destroy"] is False
    assert dataset["lifecycle"] == [{"prevent_destroy": True}]


def test_the_platform_has_few_roles_each_on_one_thing_and_each_is_explained(
    blocks: dict[str, list[Any]],
) -> None:
    roles = {
        (kind, member["role"])
        for block in blocks["resource"]
        for kind, its in block.items()
        if kind.endswith("_iam_member")
        for member in its.values()
    }
    assert roles == {
        ("google_storage_bucket_iam_member", "roles/storage.objectUser"),
        ("google_storage_bucket_iam_member", "roles/storage.legacyBucketReader"),
        ("google_project_iam_member", "roles/bigquery.jobUser"),
        ("google_bigquery_dataset_iam_member", "roles/bigquery.dataEditor"),
        ("google_service_account_iam_member", "roles/iam.workloadIdentityUser"),
    }
    readme = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"`(roles/[\w.]+)`", readme)) == {role for _, role in roles}


def test_the_roles_grant_what_the_platform_asks_for_and_none_is_there_for_nothing(
    blocks: dict[str, list[Any]],
) -> None:
    roles = {
        member["role"]
        for kind in ("storage_bucket", "project", "bigquery_dataset")
        for member in resources(blocks, f"google_{kind}_iam_member").values()
    }
    assert roles == ROLES.keys()
    needed = {*BUCKET_PERMISSIONS, *PROJECT_PERMISSIONS, *DATASET_PERMISSIONS, *OF_THE_DOCTOR}
    assert set[str]().union(*ROLES.values()) == needed
    for role, permissions in ROLES.items():
        others = set[str]().union(*(ROLES[other] for other in roles - {role}))
        assert permissions - others, f"{role} grants nothing that no other role grants"


def test_the_readme_names_the_permissions_of_each_role() -> None:
    readme = (FOLDER / "README.md").read_text()
    named: dict[str, set[str]] = {}
    for role, words in re.findall(r"(?m)^\| `(roles/[\w.]+)` \| [^|]+ \| ([^|]+) \|", readme):
        for kind, verbs in re.findall(r"\((\w+\.\w+)\.([\w, ]+)\)", words):
            permissions = {f"{kind}.{verb}" for verb in verbs.split(", ")}
            named[role] = named.get(role, set()) | permissions
    # of what two roles grant, the README names one
    assert all(permissions <= ROLES[role] for role, permissions in named.items())
    assert set[str]().union(*named.values()) == set[str]().union(*ROLES.values())


def test_nothing_is_for_everybody_and_no_key_is_made(blocks: dict[str, list[Any]]) -> None:
    code = json.dumps(blocks)
    assert not re.search("allUsers|allAuthenticatedUsers|0\\.0\\.0\\.0/0", code)
    assert "google_service_account_key" not in code
    assert not re.search(r"_iam_(binding|policy)\b", code)  # they would take others' roles away


def test_the_database_is_inside_encrypted_kept_and_only_where_it_is_asked_for(
    blocks: dict[str, list[Any]],
) -> None:
    (server,) = resources(blocks, "google_sql_database_instance").values()
    assert server["for_each"] == "${local.databases}"
    (values,) = blocks["locals"]
    assert values["databases"] == "${var.database ? local.servers : {}}"
    assert server["deletion_protection"] is True
    # it grows by itself, and Terraform would make it anew
    assert server["lifecycle"] == [{"ignore_changes": ["${settings[0].disk_size}"]}]
    for owned in ("google_sql_database", "google_sql_user"):
        (made,) = resources(blocks, owned).values()
        assert made["deletion_policy"] == "ABANDON"
    (settings,) = server["settings"]
    assert settings["ip_configuration"] == [
        {
            "ipv4_enabled": False,
            "private_network": "${var.network}",
            "ssl_mode": "ENCRYPTED_ONLY",
        }
    ]
    (backups,) = settings["backup_configuration"]
    kept = '${each.key == "dagster" || var.database_availability == "REGIONAL"}'
    assert backups == {"enabled": kept, "point_in_time_recovery_enabled": kept}


def test_the_services_that_the_resources_are_made_by_are_enabled(
    blocks: dict[str, list[Any]],
) -> None:
    (services,) = resources(blocks, "google_project_service").values()
    always, database = re.findall(r"\[(.*?)\]", services["for_each"].partition(": []")[0])
    assert set(re.findall(r'"(\w+)"', always)) == {
        "bigquery",
        "cloudresourcemanager",
        "iam",
        "iamcredentials",
        "storage",
    }
    named = re.findall(r'"(\w+)"', database)
    assert set(named) == {"compute", "secretmanager", "servicenetworking", "sqladmin"}
    readme = (FOLDER / "README.md").read_text()
    assert "gcloud services enable cloudresourcemanager.googleapis.com" in readme


def test_passwords_are_drawn_and_shown_to_nobody_unasked(blocks: dict[str, list[Any]]) -> None:
    (user,) = resources(blocks, "google_sql_user").values()
    assert user["password"] == "${random_password.database[each.key].result}"
    for name, output in named(blocks["output"]).items():
        secret = "random_password" in output["value"] or "database_urls" in output["value"]
        assert output.get("sensitive", False) is secret, name


def test_the_outputs_have_every_setting_that_must_be_set(blocks: dict[str, list[Any]]) -> None:
    outputs = named(blocks["output"])
    lines = outputs["env"]["value"] + outputs["secret_env"]["value"]
    given = set(re.findall(r"(?m)^\s*(\w+)=", lines))
    example = (ROOT / ".env.example").read_text()
    assert given >= set(re.findall(r"(?m)^(TAXI_\w+)=", example))
    database = set(re.findall(r"env: (DAGSTER_\w+)", (ROOT / "deploy/dagster.yaml").read_text()))
    assert given >= database


def test_what_the_example_says_of_the_publisher_is_the_default(
    blocks: dict[str, list[Any]],
) -> None:
    example = dict(
        line.split("=", 1)
        for line in (ROOT / ".env.example").read_text().splitlines()
        if re.match("TAXI_", line)
    )
    variables = named(blocks["variable"])
    assert variables["publisher_urls"]["default"] == example["TAXI_PUBLISHER_URLS"]
    assert variables["zones_url"]["default"] == example["TAXI_ZONES_URL"]
    assert variables["dataset"]["default"] == example["TAXI_DATASET"]


def test_kubernetes_is_told_what_it_asks_for(blocks: dict[str, list[Any]]) -> None:
    values = (ROOT / "deploy" / "kubernetes" / "values.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)\}", values))
    told = set(re.findall(r"export (\w+)=", named(blocks["output"])["kubernetes"]["value"]))
    assert asked - told == {"TAXI_IMAGE", "TAXI_IMAGE_TAG"}
    assert told < asked


needs_terraform = pytest.mark.skipif(
    not shutil.which("terraform"), reason="terraform is not on this machine"
)


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["terraform", f"-chdir={folder}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_terraform
def test_the_code_is_in_terraforms_own_style() -> None:
    checked = terraform(FOLDER, "fmt", "-check", "-diff", "-recursive")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def applied(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Apply what needs no provider: variables, locals and outputs, with what a resource would say.

    That is its name and its attribute's; what is random is a secret.
    """
    locals_block = re.search(r"(?ms)^locals \{.*?^\}$", (FOLDER / "database.tf").read_text())
    assert locals_block
    parts = ((FOLDER / "variables.tf").read_text(), (FOLDER / "outputs.tf").read_text())
    code = "\n".join((*parts, locals_block[0]))
    attribute = r"_\w+\.(\w+)(?:\[\w+\])?\.(\w+)"
    code = re.sub(rf"\bgoogle{attribute}", r'"\1-\2"', code)
    code = re.sub(rf"\brandom{attribute}", r'sensitive("\1-\2")', code)
    (folder / "main.tf").write_text(code)
    given = {"project": "my-project", "bucket": "my-taxi-lake"} | variables
    told = [f"-var={name}={value}" for name, value in given.items()]
    return terraform(folder, "apply", "-no-color", "-input=false", "-auto-approve", *told)


REFUSED = {
    "project": "1",
    "bucket": "gs://my-taxi-lake",
    "dataset": "trips-data",
    "location": "us",
    "region": "US",
    "service_account_id": "taxi",
    "kubernetes_namespace": "Taxi",
    "noncurrent_days": "0",
    "raw_nearline_days": "0",
    "raw_coldline_days": "30",
    "rejected_nearline_days": "1.5",
    "network": "default",
    "database_version": "15",
    "database_tier": "small",
    "dagster_database_tier": "shared",
    "database_availability": "both",
    "database_disk_gb": "1",
    "publisher_urls": "https://example.org/{service}.parquet",
    "zones_url": "zones.csv",
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the errors for all the values that cannot be.

    30 days to coldline are too few only beside nearline's default.
    """
    nearline = {"raw_nearline_days": REFUSED["raw_nearline_days"]}
    others = {name: value for name, value in REFUSED.items() if name not in nearline}
    found = []
    for variables in (nearline, others):
        refused = applied(tmp_path_factory.mktemp("refused"), **variables)
        assert refused.returncode == 1
        found += refused.stderr.split("Invalid value for variable")[1:]
    return found


@needs_terraform
@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_a_variable_that_cannot_be_is_refused(errors: list[str], name: str, value: str) -> None:
    assert len(errors) == len(REFUSED)
    (error,) = [error for error in errors if f'variable "{name}"' in error]
    assert value in error


@needs_terraform
def test_a_database_needs_a_network(tmp_path: Path) -> None:
    assert 'variable "network"' in applied(tmp_path, database="true").stderr


@needs_terraform
@pytest.mark.parametrize("database", ["false", "true"])
def test_what_is_printed_is_a_env_file(tmp_path: Path, database: str) -> None:
    network = "projects/my-project/global/networks/default"
    done = applied(tmp_path, database=database, network=network)
    assert done.returncode == 0, done.stderr
    printed = {
        name: terraform(tmp_path, "output", "-raw", name).stdout for name in ("env", "secret_env")
    }
    settings = dict(line.split("=", 1) for text in printed.values() for line in text.splitlines())
    assert settings["TAXI_BUCKET"] == "lake-name"
    assert settings["TAXI_PUBLISHER_URLS"].count("{month}") == 2
    url = settings["TAXI_POSTGRES_URL"]
    if database == "true":
        assert url == (
            "postgresql://trips:database-result@postgres-private_ip_address:5432/trips"
            "?sslmode=require"
        )
        Postgres(url=url).uri(YELLOW.trips)
    else:
        assert f"TAXI_POSTGRES_URL={url}" in (ROOT / ".env.example").read_text()
