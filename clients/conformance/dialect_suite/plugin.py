"""How does SQLAlchemy's own test suite meet our dialect? A pytest plugin; it needs `--dburi` and `--requirements`."""

import pytest
from sqlalchemy.dialects import registry

registry.register("tidewater", "tidewater.sqlalchemy", "TidewaterDialect")
pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing import provision  # noqa: E402
from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402, F403


@provision.delete_from_all_tables.for_db("tidewater")
def truncate_all_tables(connection, cfg, metadata):
    """Between two tests. The keys of rows that DELETE takes away stay known: rows that come again would be dropped as repeats."""
    for table in metadata.sorted_tables:
        connection.exec_driver_sql(f"TRUNCATE TABLE {connection.dialect.identifier_preparer.format_table(table)}")
