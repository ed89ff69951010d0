package conformance;

import com.google.gson.JsonObject;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/** Which servers are there, and how are they asked? */
final class Target {
    /** Beside the answers the driver prints what it likes. */
    private final PrintStream answers;

    private final BufferedReader replies =
            new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final JsonObject settings;

    Target(JsonObject settings, PrintStream answers) {
        this.settings = settings;
        this.answers = answers;
    }

    /** A setting of the caller: `open`, `guarded` and `encrypted` are addresses of servers. */
    String setting(String name) {
        return settings.get(name).getAsString();
    }

    Path folder(String name) {
        return Path.of(setting(name));
    }

    boolean isDriverBefore(int major) {
        return Integer.parseInt(setting("version").split("\\.")[0]) < major;
    }

    /** As the driver has it: before 18 it has one type for both kinds of timestamps. */
    int jdbcType(int type) {
        return type == Types.TIMESTAMP_WITH_TIMEZONE && isDriverBefore(18) ? Types.TIMESTAMP : type;
    }

    void print(JsonObject answer) {
        answers.println(answer);
        answers.flush();
    }

    /** Asks the caller to do something to a server, and waits until it is done. */
    void ask(String what) throws IOException {
        JsonObject request = new JsonObject();
        request.addProperty("ask", what);
        print(request);
        String reply = replies.readLine();
        Check.equal(reply, "done", "the reply to " + what);
    }

    String url(String server, String parameters) {
        return "jdbc:arrow-flight-sql://" + setting(server) + "/?" + parameters;
    }

    /** To the server without users and without TLS. */
    Connection connect() throws SQLException {
        return DriverManager.getConnection(url("open", "useEncryption=false"));
    }

    /** To a server with users and without TLS. */
    Connection connect(String user, String password) throws SQLException {
        Properties properties = new Properties();
        properties.put("user", user);
        properties.put("password", password);
        return DriverManager.getConnection(url("guarded", "useEncryption=false"), properties);
    }

    static void run(Connection connection, String... statements) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String sql : statements) {
                statement.execute(sql);
            }
        }
    }

    /** All rows, each value as its text. */
    static List<List<String>> rows(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            return rows(statement.executeQuery(sql));
        }
    }

    static List<List<String>> rows(ResultSet result) throws SQLException {
        try (result) {
            int width = result.getMetaData().getColumnCount();
            List<List<String>> out = new ArrayList<>();
            while (result.next()) {
                List<String> row = new ArrayList<>();
                for (int i = 1; i <= width; i++) {
                    row.add(result.getString(i));
                }
                out.add(row);
            }
            return out;
        }
    }

    /** The only value of the only row. */
    static String value(Connection connection, String sql) throws SQLException {
        List<List<String>> rows = rows(connection, sql);
        Check.equal(rows.size(), 1, "the number of rows of " + sql);
        return rows.get(0).get(0);
    }

    /** Waits until a query whose text has the marker runs, or runs no more. At most 20 s. */
    static void awaitQuery(Connection connection, String marker, boolean runs) throws Exception {
        String sql =
                "SELECT count(*) FROM system.queries WHERE state = 'running' AND sql LIKE '%"
                        + marker
                        + "%' AND sql NOT LIKE '%system.queries%'";
        long end = System.nanoTime() + 20_000_000_000L;
        while (value(connection, sql).equals("0") == runs) {
            Check.that(
                    System.nanoTime() < end,
                    "within 20 s the query " + marker + (runs ? " runs" : " has ended"));
            Thread.onSpinWait();
        }
    }
}
