"""What does Apache Superset need to know of the server? How times are grouped and written, and that a schema can be chosen.

Superset finds this by itself where the package is installed, under the entry point `superset.db_engine_specs`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import types
from superset.constants import TimeGrain
from superset.db_engine_specs.base import BaseEngineSpec
from superset.sql.parse import SQLGLOT_DIALECTS
from superset.utils.core import GenericDataType

# The statements that people write are taken apart as PostgreSQL's, which the server's dialect follows.
SQLGLOT_DIALECTS.setdefault("tidewater", SQLGLOT_DIALECTS["postgresql"])

# 1969-12-28 was a Sunday, 1969-12-29 a Monday.
_BUCKETS = {
    TimeGrain.SECOND: "date_trunc('second', {col})",
    TimeGrain.FIVE_SECONDS: "time_bucket('5 seconds', {col})",
    TimeGrain.THIRTY_SECONDS: "time_bucket('30 seconds', {col})",
    TimeGrain.MINUTE: "date_trunc('minute', {col})",
    TimeGrain.FIVE_MINUTES: "time_bucket('5 minutes', {col})",
    TimeGrain.TEN_MINUTES: "time_bucket('10 minutes', {col})",
    TimeGrain.FIFTEEN_MINUTES: "time_bucket('15 minutes', {col})",
    TimeGrain.THIRTY_MINUTES: "time_bucket('30 minutes', {col})",
    TimeGrain.HALF_HOUR: "time_bucket('30 minutes', {col})",
    TimeGrain.HOUR: "date_trunc('hour', {col})",
    TimeGrain.SIX_HOURS: "time_bucket('6 hours', {col})",
    TimeGrain.DAY: "date_trunc('day', {col})",
    TimeGrain.WEEK: "date_trunc('week', {col})",
    TimeGrain.WEEK_STARTING_SUNDAY: "date_trunc('week', {col} + INTERVAL '1 day') - INTERVAL '1 day'",
    TimeGrain.WEEK_STARTING_MONDAY: "date_trunc('week', {col})",
    TimeGrain.WEEK_ENDING_SATURDAY: "date_trunc('week', {col} + INTERVAL '1 day') + INTERVAL '5 days'",
    TimeGrain.WEEK_ENDING_SUNDAY: "date_trunc('week', {col}) + INTERVAL '6 days'",
    TimeGrain.MONTH: "date_trunc('month', {col})",
    TimeGrain.QUARTER: "date_trunc('quarter', {col})",
    TimeGrain.QUARTER_YEAR: "date_trunc('quarter', {col})",
    TimeGrain.YEAR: "date_trunc('year', {col})",
}


class TidewaterEngineSpec(BaseEngineSpec):  # type: ignore[misc]
    """`tidewater://user:password@host:8815`."""

    engine = "tidewater"
    engine_name = "Tidewater"
    default_driver = "adbc"
    sqlalchemy_uri_placeholder = "tidewater://user:password@host:8815/public?tls=on"

    max_column_name_length = 255
    allows_alias_in_orderby = True
    supports_dynamic_schema = True
    supports_multivalues_insert = True
    disable_ssh_tunneling = True
    time_groupby_inline = False
    _time_grain_expressions = {None: "{col}", **_BUCKETS}
    column_type_mappings = ((re.compile(r"^U(TINY|SMALL|BIG)?INT(EGER)?$", re.IGNORECASE), types.BigInteger(), GenericDataType.NUMERIC),)

    @classmethod
    def convert_dttm(cls, target_type: str, dttm: datetime, db_extra: dict[str, Any] | None = None) -> str | None:
        sql_type = cls.get_sqla_column_type(target_type)
        if isinstance(sql_type, types.Date):
            return f"DATE '{dttm.date().isoformat()}'"
        if isinstance(sql_type, types.DateTime):
            # UTC is what Superset means, and where a text without a zone is read.
            return f"{'TIMESTAMPTZ' if 'TZ' in target_type.upper() else 'TIMESTAMP'} '{dttm.isoformat(sep=' ', timespec='microseconds')}'"
        return None

    @classmethod
    def epoch_to_dttm(cls) -> str:
        return "to_timestamp_seconds({col})"

    @classmethod
    def adjust_engine_params(
        cls, uri: Any, connect_args: dict[str, Any], catalog: str | None = None, schema: str | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return (uri.set(database=schema) if schema else uri), connect_args

    @classmethod
    def get_schema_from_engine_params(cls, sqlalchemy_uri: Any, connect_args: dict[str, Any]) -> str | None:
        return sqlalchemy_uri.database or None
