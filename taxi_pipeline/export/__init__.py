"""What the project declares, written for other tools: dbt's sources and a data contract.

One module writes one document. All of it derives from the declared tables, the assets and their
checks, so a new table, column or check is in it by itself. Nothing here asks a server.
"""

from taxi_pipeline.export.dbt import dbt_sources
from taxi_pipeline.export.document import write_document
from taxi_pipeline.export.odcs import data_contract

__all__ = ["data_contract", "dbt_sources", "write_document"]
