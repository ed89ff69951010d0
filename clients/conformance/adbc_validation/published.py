"""Does the server pass the suite that the makers of ADBC's drivers publish? The four groups of adbc-drivers/validation as they are."""

import quirks
from adbc_drivers_validation.tests import connection, ingest, query, statement

GROUPS = {"TestConnection": connection, "TestIngest": ingest, "TestQuery": query, "TestStatement": statement}


def pytest_generate_tests(metafunc):
    GROUPS[metafunc.cls.__name__].generate_tests([quirks.TIDEWATER], metafunc)


class TestConnection(connection.TestConnection):
    pass


class TestIngest(ingest.TestIngest):
    pass


class TestQuery(query.TestQuery):
    pass


class TestStatement(statement.TestStatement):
    pass
