package conformance;

import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Driver;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/** Do the sequences of calls work that tools with this driver are known for? */
final class Tools {
    private final Target target;

    Tools(Target target) {
        this.target = target;
    }

    void add(Map<String, Flow> flows) throws SQLException {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS tools.orders",
                    "CREATE TABLE tools.orders (id BIGINT NOT NULL, item VARCHAR, price DECIMAL(10,"
                            + " 2), at TIMESTAMP, PRIMARY KEY (id))",
                    "INSERT INTO tools.orders VALUES (1, 'tea', '2.50', '2026-01-31 12:00:00'), (2,"
                            + " 'cake', '3.00', '2026-02-01 12:00:00')",
                    "CREATE OR REPLACE VIEW tools.cheap AS SELECT * FROM tools.orders WHERE price <"
                            + " 3");
        }
        flows.put("the_recipe_of_the_documentation", this::recipe);
        flows.put("the_class_of_the_driver", this::driver);
        flows.put("dbeaver", this::dbeaver);
        flows.put("dbeaver_edits_nothing_unasked", this::dbeaverData);
        flows.put("tableau", this::tableau);
        flows.put("metabase", this::metabase);
        flows.put("datagrip", this::datagrip);
        flows.put("spark_reads", this::sparkReads);
        flows.put("spark_writes", this::sparkWrites);
        flows.put("a_pool_of_connections", this::pool);
    }

    private void recipe() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS t",
                    "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR, time TIMESTAMPTZ)",
                    "INSERT INTO t VALUES (1, 'a', now())");
        }
        String url = target.url("open", "useEncryption=false");
        Check.equal(Recipe.run(url), List.of("a"), "the names");
    }

    /** Tools want its name. */
    private void driver() throws Exception {
        Class<?> found = Class.forName("org.apache.arrow.driver.jdbc.ArrowFlightJdbcDriver");
        Driver driver = (Driver) found.getDeclaredConstructor().newInstance();
        Check.that(driver.acceptsURL(target.url("open", "")), "acceptsURL()");
        Check.that(!driver.acceptsURL("jdbc:other://127.0.0.1"), "acceptsURL() of another");
    }

    /**
     * Connects, asks for the version, and opens the tree: catalogs, schemas, tables, columns, keys,
     * indexes.
     */
    private void dbeaver() throws Exception {
        Properties properties = new Properties();
        properties.put("user", "");
        properties.put("password", "");
        try (Connection connection =
                DriverManager.getConnection(
                        target.url("open", "useEncryption=false"), properties)) {
            Check.contains(Target.value(connection, "SELECT VERSION()"), ".");
            DatabaseMetaData metadata = connection.getMetaData();
            connection.getCatalog();
            connection.getSchema();
            metadata.getSQLKeywords();
            Check.that(!metadata.supportsTransactions(), "no transactions");
            Target.rows(metadata.getTypeInfo());
            int tables = 0;
            for (List<String> catalog : Target.rows(metadata.getCatalogs())) {
                for (List<String> schema : Target.rows(metadata.getSchemas(catalog.get(0), "%"))) {
                    for (List<String> table :
                            Target.rows(
                                    metadata.getTables(catalog.get(0), schema.get(0), "%", null))) {
                        tables++;
                        String pattern = table.get(2).replace("_", "\\_");
                        Check.that(
                                !Target.rows(
                                                metadata.getColumns(
                                                        catalog.get(0),
                                                        schema.get(0),
                                                        pattern,
                                                        "%"))
                                        .isEmpty(),
                                "columns of " + table);
                        Target.rows(
                                metadata.getPrimaryKeys(
                                        catalog.get(0), schema.get(0), table.get(2)));
                        Target.rows(
                                metadata.getImportedKeys(
                                        catalog.get(0), schema.get(0), table.get(2)));
                        Target.rows(
                                metadata.getExportedKeys(
                                        catalog.get(0), schema.get(0), table.get(2)));
                        Target.rows(
                                metadata.getIndexInfo(
                                        catalog.get(0), schema.get(0), table.get(2), false, true));
                    }
                }
            }
            Check.that(tables > 10, "there are tables");
            Target.rows(metadata.getProcedures("tidewater", "tools", "%"));
        }
    }

    /** The first 200 rows of a table, and the number of all. */
    private void dbeaverData() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            statement.setMaxRows(200);
            statement.setFetchSize(200);
            Check.that(statement.execute("SELECT * FROM tidewater.tools.orders"), "it has rows");
            ResultSet result = statement.getResultSet();
            Check.equal(result.getMetaData().getColumnName(2), "item", "the name of a column");
            Check.equal(Target.rows(result).size(), 2, "rows");
            Check.equal(
                    Target.value(connection, "SELECT count(*) FROM tidewater.tools.orders"),
                    "2",
                    "the number of rows");
            Check.equal(
                    Target.rows(
                                    connection,
                                    "SELECT x.* FROM tools.orders x ORDER BY x.\"price\" DESC")
                            .get(0)
                            .get(1),
                    "cake",
                    "sorted");
        }
    }

    /**
     * Asks what the server can, makes what it may not, and reads the types of its columns from a
     * query without rows.
     */
    private void tableau() throws Exception {
        try (Connection connection = target.connect()) {
            DatabaseMetaData metadata = connection.getMetaData();
            Check.that(metadata.supportsANSI92EntryLevelSQL(), "supportsANSI92EntryLevelSQL()");
            metadata.supportsANSI92IntermediateSQL();
            metadata.getMaxColumnNameLength();
            metadata.getIdentifierQuoteString();
            try (PreparedStatement select =
                    connection.prepareStatement("SELECT * FROM \"tools\".\"orders\" WHERE 1 = 0")) {
                Check.equal(select.getMetaData().getColumnCount(), 4, "columns before it runs");
                Check.that(!select.executeQuery().next(), "no rows");
            }
            Check.refused(
                    () ->
                            Target.run(
                                    connection,
                                    "CREATE LOCAL TEMPORARY TABLE \"#Tableau_1\" (x INTEGER)"));
            String sql =
                    "SELECT \"orders\".\"item\" AS \"item\", SUM(\"orders\".\"price\") AS"
                        + " \"sum:price:ok\" FROM \"tools\".\"orders\" \"orders\" GROUP BY 1 HAVING"
                        + " (COUNT(1) > 0) ORDER BY 2 DESC";
            Check.equal(
                    Target.rows(connection, sql),
                    List.of(List.of("cake", "3.00"), List.of("tea", "2.50")),
                    "the sums");
            String years =
                    "SELECT EXTRACT(YEAR FROM \"at\") AS \"yr:at\", COUNT(*) FROM"
                            + " \"tools\".\"orders\" GROUP BY 1";
            Check.equal(Target.rows(connection, years), List.of(List.of("2026", "2")), "by year");
        }
    }

    /**
     * Looks for tables that it may read, their fields and keys, then asks for fingerprints and
     * buckets.
     */
    private void metabase() throws Exception {
        try (Connection connection = target.connect()) {
            DatabaseMetaData metadata = connection.getMetaData();
            connection.setReadOnly(true);
            List<String> found = new ArrayList<>();
            for (List<String> table :
                    Target.rows(
                            metadata.getTables(
                                    "tidewater",
                                    "tools",
                                    "%",
                                    new String[] {"TABLE", "VIEW", "MATERIALIZED VIEW"}))) {
                found.add(table.get(2));
                Target.run(
                        connection,
                        "SELECT TRUE AS \"_\" FROM \"tools\".\""
                                + table.get(2)
                                + "\" WHERE 1 <> 1 LIMIT 0");
            }
            Check.equal(found, List.of("cheap", "orders"), "the tables");
            Check.equal(
                    Target.rows(metadata.getColumns("tidewater", "tools", "orders", null)).size(),
                    4,
                    "the fields");
            Check.equal(
                    Target.rows(metadata.getPrimaryKeys("tidewater", "tools", "orders"))
                            .get(0)
                            .get(3),
                    "id",
                    "the key");
            String sample =
                    "SELECT \"source\".\"substring1\" AS \"substring1\" FROM (SELECT"
                            + " SUBSTRING(\"item\", 1, 1234) AS \"substring1\" FROM"
                            + " \"tools\".\"orders\") AS \"source\" LIMIT 10000";
            Check.equal(Target.rows(connection, sample).size(), 2, "the sample");
            String sql =
                    "SELECT DATE_TRUNC('month', \"tools\".\"orders\".\"at\") AS \"at\", COUNT(*) AS"
                        + " \"count\" FROM \"tools\".\"orders\" WHERE \"tools\".\"orders\".\"at\""
                        + " >= ? AND \"tools\".\"orders\".\"at\" < ? GROUP BY DATE_TRUNC('month',"
                        + " \"tools\".\"orders\".\"at\") ORDER BY 1";
            try (PreparedStatement select = connection.prepareStatement(sql)) {
                select.setTimestamp(1, java.sql.Timestamp.valueOf("2026-01-01 00:00:00"));
                select.setTimestamp(2, java.sql.Timestamp.valueOf("2026-02-01 00:00:00"));
                List<List<String>> rows = Target.rows(select.executeQuery());
                Check.equal(rows.size(), 1, "the number of months");
                Check.equal(rows.get(0).get(1), "1", "the rows of January");
            }
        }
    }

    /** A check of the connection, and the current schema. */
    private void datagrip() throws Exception {
        try (Connection connection = target.connect();
                Statement statement = connection.createStatement()) {
            Check.that(connection.isValid(10), "isValid()");
            Check.equal(
                    Target.rows(connection, "SELECT current_schema(), current_catalog()").get(0),
                    List.of("public", "tidewater"),
                    "where it is");
            statement.setQueryTimeout(30);
            Check.that(
                    statement.execute("SELECT t.* FROM tools.orders t LIMIT 501"), "it has rows");
            Check.equal(statement.getWarnings(), null, "getWarnings()");
        }
    }

    private void sparkReads() throws Exception {
        try (Connection connection = target.connect()) {
            try (PreparedStatement schema =
                            connection.prepareStatement("SELECT * FROM tools.orders WHERE 1=0");
                    ResultSet none = schema.executeQuery()) {
                Check.equal(none.getMetaData().getColumnCount(), 4, "columns");
            }
            String part =
                    "SELECT \"id\",\"item\" FROM tools.orders   WHERE (\"id\" IS NOT NULL) AND"
                            + " (\"id\" < 2 or \"id\" is null)    ";
            try (PreparedStatement select =
                    connection.prepareStatement(
                            part, ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY)) {
                select.setFetchSize(1000);
                Check.equal(
                        Target.rows(select.executeQuery()), List.of(List.of("1", "tea")), "a part");
            }
        }
    }

    /** In batches of 1,000, as Spark's JDBC writer does. */
    private void sparkWrites() throws Exception {
        try (Connection connection = target.connect()) {
            Target.run(
                    connection,
                    "DROP TABLE IF EXISTS jdbc_spark_written",
                    "CREATE TABLE jdbc_spark_written (\"id\" BIGINT , \"name\" VARCHAR , \"v\""
                        + " DOUBLE )");
            try (PreparedStatement insert =
                    connection.prepareStatement(
                            "INSERT INTO jdbc_spark_written (\"id\",\"name\",\"v\") VALUES"
                                + " (?,?,?)")) {
                for (int i = 0; i < 3_000; i++) {
                    insert.setLong(1, i);
                    insert.setString(2, "name " + i);
                    if (i % 3 == 0) {
                        insert.setNull(3, java.sql.Types.DOUBLE);
                    } else {
                        insert.setDouble(3, i / 2.0);
                    }
                    insert.addBatch();
                    if (i % 1_000 == 999) {
                        insert.executeBatch();
                    }
                }
            }
            Check.equal(
                    Target.rows(
                                    connection,
                                    "SELECT count(*), count(v), max(v) FROM jdbc_spark_written")
                            .get(0),
                    List.of("3000", "2000", "1499.5"),
                    "rows");
        }
    }

    /** Pools test each connection, and set and unset its properties. */
    private void pool() throws Exception {
        List<Connection> pool = new ArrayList<>();
        try {
            for (int i = 0; i < 5; i++) {
                pool.add(target.connect());
            }
            for (int round = 0; round < 3; round++) {
                for (Connection connection : pool) {
                    Check.that(connection.isValid(5), "isValid()");
                    connection.setAutoCommit(true);
                    connection.clearWarnings();
                    Check.equal(Target.value(connection, "SELECT 1"), "1", "SELECT 1");
                }
            }
        } finally {
            for (Connection connection : pool) {
                connection.close();
            }
        }
    }
}
