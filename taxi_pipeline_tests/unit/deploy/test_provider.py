"""deploy/terraform against what Google's provider takes, where that is at hand.

Either the provider itself, after `terraform -chdir=deploy/terraform init -backend=false`; or its
arguments, of version 6.50, in the package cdktf-cdktf-provider-google, whose dependencies need not
be there.
"""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hcl2
import pytest
from hcl2.utils import SerializationOptions

FOLDER = Path(__file__).parents[3] / "deploy" / "terraform"
_PLAIN = SerializationOptions(with_comments=False, explicit_blocks=False, strip_string_quotes=True)
_META = {
    "count",
    "depends_on",
    "for_each",
    "lifecycle",
    "provider",
    "provisioner",
}  # Terraform's own


@pytest.fixture(scope="module")
def types() -> Mapping[str, Any]:
    """Return what the package declares: a type for each resource and for each block in it."""
    package = find_spec("cdktf_cdktf_provider_google")
    if not package:
        pytest.skip(
            "cdktf-cdktf-provider-google is not installed: it would show that Google's provider "
            "has every argument of deploy/terraform, and that none is missing"
        )
    assert package.submodule_search_locations
    (packed,) = Path(package.submodule_search_locations[0], "_jsii").glob("*.jsii.tgz")
    with tarfile.open(packed) as files:
        declared = files.extractfile("package/.jsii")
        assert declared
        types: dict[str, Any] = json.load(declared)["types"]
    return {name.partition("/provider-google.")[2]: kind for name, kind in types.items()}


def resources() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield Google's resources: kind, name and what they are given."""
    for path in sorted(FOLDER.glob("*.tf")):
        for block in hcl2.loads(path.read_text(), serialization_options=_PLAIN).get("resource", []):
            for kind, named in block.items():
                for name, body in named.items():
                    if kind.startswith("google_"):
                        yield kind, name, body


def camel(name: str) -> str:
    """Spell an argument as the package does."""
    return re.sub(r"_(\w)", lambda letter: letter[1].upper(), name)


def faults(types: Mapping[str, Any], kind: str, body: Mapping[str, Any], place: str) -> list[str]:
    """Return what a block has and may not, or has not and must."""
    known = {argument["name"]: argument for argument in types[kind]["properties"]}
    given = {camel(name): value for name, value in body.items() if name not in _META}
    found = [f"{place}: no argument {name}" for name in given.keys() - known.keys()]
    found += [
        f"{place}: {name} is missing"
        for name, argument in known.items()
        if not argument.get("optional") and name not in given
    ]
    for name in given.keys() & known.keys():
        nested = re.search(r'provider-google\.([\w.]+)"', json.dumps(known[name]["type"]))
        if nested:
            for block in given[name]:
                found += faults(types, nested[1], block, f"{place}.{name}")
    return found


def test_the_provider_has_every_argument_and_none_is_missing(types: Mapping[str, Any]) -> None:
    kinds = set()
    for kind, name, body in resources():
        kinds.add(kind)
        module = camel(kind.removeprefix("google_"))
        config = f"{module}.{module[0].upper()}{module[1:]}Config"
        assert faults(types, config, body, f"{kind}.{name}") == []
    assert {"google_storage_bucket", "google_sql_database_instance"} <= kinds


def test_terraform_takes_the_files() -> None:
    if not shutil.which("terraform") or not (FOLDER / ".terraform" / "providers").is_dir():
        pytest.skip(
            "deploy/terraform is not initialised: terraform validate would show that the providers "
            "take every argument and its type"
        )
    command = ["terraform", f"-chdir={FOLDER}", "validate", "-no-color"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
