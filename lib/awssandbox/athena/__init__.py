"""Amazon Athena, as far as queries on CloudTrail's log files need it.

Queries run in DuckDB, which is loaded with the first of them.
"""

from awssandbox.athena.operations import OPERATIONS

__all__ = ["OPERATIONS"]
