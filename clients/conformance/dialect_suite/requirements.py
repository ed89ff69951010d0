"""What of SQLAlchemy's suite does the server claim? What it does not is listed with the reason, and skipped by name."""

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

CLAIMED = [
    "array_type",
    "boolean_col_expressions",
    "create_or_replace_view",
    "create_table_as",
    "ctes",
    "ctes_with_values",
    "date_historic",
    "datetime_historic",
    "datetime_literals",
    "datetime_timezone",
    "datetime_timezone_historic",
    "except_",
    "fetch_first",
    "fetch_no_order_by",
    "fetch_offset_with_options",
    "infinity_floats",
    "intersect",
    "json_type",
    "mod_operator_as_percent_sign",
    "nullsordering",
    "order_by_label_with_expression",
    "precision_numerics_enotation_large",
    "precision_numerics_enotation_small",
    "precision_numerics_many_significant_digits",
    "precision_numerics_retains_significant_digits",
    "regexp_match",
    "regexp_replace",
    "schemas",
    "supports_bitwise_and",
    "supports_bitwise_or",
    "supports_bitwise_shift",
    "supports_bitwise_xor",
    "table_ddl_if_exists",
    "timestamp_microseconds",
    "tuple_in",
    "unicode_ddl",
    "uuid_data_type",
    "views",
    "window_functions",
    "window_range",
]
"""Beyond what the suite takes for granted."""

REFUSED = {
    "date_coerces_from_datetime": "a time of day is not cut off in silence",
    "autoincrement_insert": "producers give keys, the server none",
    "autoincrement_without_sequence": "producers give keys, the server none",
    "duplicate_key_raises_integrity_error": "a row whose key is there is dropped, and that is the point",
    "foreign_key_constraint_reflection": "there are no foreign keys",
    "index_reflection": "there are no indexes to make",
    "temp_table_reflection": "there are no temporary tables",
    "temporary_tables": "there are no temporary tables",
    "unique_constraint_reflection": "the key is the only constraint",
}
"""Taken for granted by the suite, and refused by design."""


class Requirements(SuiteRequirements):
    """By name."""


for name in CLAIMED:
    setattr(Requirements, name, property(lambda self: exclusions.open()))
for name in REFUSED:
    setattr(Requirements, name, property(lambda self: exclusions.closed()))
