"""Runs dbt's commands in the project that it is started in, and asks dagster-dbt about the project.

It is started by the Python of `.venv-dbt`, and so imports nothing of ours. The arguments are JSON:
a list of commands. Beside dbt's own artifacts it writes `target/dagster.json`: for each command
whether it succeeded, and for each of Dagster's assets made of a model the keys that it depends on.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    from dagster_dbt import dbt_assets
    from dbt.cli.main import dbtRunner

    runner = dbtRunner()
    succeeded = [runner.invoke(command).success for command in json.loads(sys.argv[1])]

    @dbt_assets(manifest=Path("target/manifest.json"))  # type: ignore[untyped-decorator]
    def assets() -> None:
        """Depend on what the models depend on."""

    dependencies = {
        spec.key.to_user_string(): [each.asset_key.to_user_string() for each in spec.deps]
        for spec in assets.specs
    }
    found = {"succeeded": succeeded, "dependencies": dependencies}
    Path("target/dagster.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
