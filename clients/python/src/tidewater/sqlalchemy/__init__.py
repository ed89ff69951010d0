"""How does SQLAlchemy, 1.4 or 2, ask the server? `create_engine("tidewater://user:password@host:8815/schema")`, on ADBC's DB-API.

Each statement commits by itself. The types that only this server has are here too, for models and for what reflection finds.
"""

from .dialect import TidewaterDialect
from .types import STRUCT, TINYINT, UBIGINT, UINTEGER, USMALLINT, UTINYINT

__all__ = ["STRUCT", "TINYINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT", "TidewaterDialect"]

dialect = TidewaterDialect
