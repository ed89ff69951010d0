package conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;

import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ParameterMetaData;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Does JDBC see what every client must see? */
final class SharedCases {
    private final Target target;

    SharedCases(Target target) {
        this.target = target;
    }

    void add(Map<String, Flow> flows) throws Exception {
        List<Path> files;
        try (Stream<Path> found = Files.list(target.folder("cases"))) {
            files = found.filter(file -> file.toString().endsWith(".json")).sorted().toList();
        }
        for (Path file : files) {
            for (JsonElement element :
                    JsonParser.parseString(Files.readString(file)).getAsJsonArray()) {
                JsonObject one = element.getAsJsonObject();
                Check.equal(
                        flows.put(one.get("name").getAsString(), () -> check(one)),
                        null,
                        "the name of two cases");
            }
        }
    }

    private void check(JsonObject one) throws Exception {
        try (Connection connection = target.connect()) {
            if (one.has("setup")) {
                Target.run(
                        connection,
                        one.getAsJsonArray("setup").asList().stream()
                                .map(JsonElement::getAsString)
                                .toArray(String[]::new));
            }
            if (one.has("error")) {
                JsonObject wanted = one.getAsJsonObject("error");
                Exception error = Check.thrown(() -> answer(connection, one));
                Check.contains(Check.told(error), wanted.get("contains").getAsString());
                Check.equal(Check.status(error), wanted.get("status").getAsString(), "the status");
                Check.driver(
                        error instanceof SQLException,
                        "an update that is refused ends with the exception of its Flight client,"
                                + " which is no SQLException");
            } else {
                answer(connection, one);
            }
            if (one.has("check")) {
                JsonObject after = one.getAsJsonObject("check");
                try (PreparedStatement statement =
                        connection.prepareStatement(after.get("sql").getAsString())) {
                    checkRows(statement.executeQuery(), after);
                }
            }
        }
    }

    private void answer(Connection connection, JsonObject one) throws Exception {
        try (PreparedStatement statement =
                connection.prepareStatement(one.get("sql").getAsString())) {
            if (one.has("parameters")) {
                bind(statement, one.getAsJsonArray("parameters"));
            }
            if (one.has("affected")) {
                Check.equal(
                        statement.executeUpdate(),
                        one.get("affected").getAsInt(),
                        "the number of rows");
                return;
            }
            ResultSet result = statement.executeQuery();
            if (one.has("columns")) {
                checkColumns(result.getMetaData(), one.getAsJsonArray("columns"));
            }
            if (one.has("rows")) {
                checkRows(result, one);
            } else {
                Target.rows(result);
            }
        }
    }

    /** As a program does that knows the parameters' types: this driver converts nothing. */
    private static void bind(PreparedStatement statement, JsonArray values) throws SQLException {
        ParameterMetaData wanted = statement.getParameterMetaData();
        Check.equal(wanted.getParameterCount(), values.size(), "the number of parameters");
        for (int i = 1; i <= values.size(); i++) {
            JsonElement value = values.get(i - 1);
            if (value.isJsonNull()) {
                statement.setNull(i, wanted.getParameterType(i));
                continue;
            }
            JsonPrimitive primitive = value.getAsJsonPrimitive();
            if (primitive.isBoolean()) {
                statement.setBoolean(i, primitive.getAsBoolean());
            } else if (primitive.isString()) {
                statement.setString(i, primitive.getAsString());
            } else if (wanted.getParameterType(i) == Types.DECIMAL) {
                statement.setBigDecimal(i, primitive.getAsBigDecimal());
            } else if (primitive.getAsString().matches("-?\\d+")) {
                statement.setLong(i, primitive.getAsLong());
            } else {
                statement.setDouble(i, primitive.getAsDouble());
            }
        }
    }

    private void checkColumns(ResultSetMetaData got, JsonArray wanted) throws SQLException {
        Check.equal(got.getColumnCount(), wanted.size(), "the number of columns");
        for (int i = 1; i <= wanted.size(); i++) {
            JsonArray column = wanted.get(i - 1).getAsJsonArray();
            Check.equal(
                    got.getColumnLabel(i), column.get(0).getAsString(), "the name of column " + i);
            Check.equal(
                    got.getColumnType(i),
                    target.jdbcType(Values.jdbcType(column.get(1).getAsString())),
                    "the JDBC type of column " + i);
        }
    }

    /** The driver's times have milliseconds. */
    private static List<String> withoutMicros(List<String> row, int at) {
        List<String> out = new ArrayList<>(row);
        out.set(at, row.get(at) == null ? null : row.get(at).substring(0, 12) + "000");
        return out;
    }

    private static void checkRows(ResultSet result, JsonObject wanted) throws Exception {
        List<List<String>> rows = new ArrayList<>();
        for (JsonElement row : wanted.getAsJsonArray("rows")) {
            rows.add(
                    row.getAsJsonArray().asList().stream()
                            .map(value -> value.isJsonNull() ? null : value.getAsString())
                            .toList());
        }
        List<String> types = null;
        if (wanted.has("columns")) {
            types =
                    wanted.getAsJsonArray("columns").asList().stream()
                            .map(column -> column.getAsJsonArray().get(1).getAsString())
                            .toList();
        }
        List<List<String>> got = Values.rows(result, types);
        for (int i = 0; types != null && i < types.size(); i++) {
            if (types.get(i).equals("time64[us]")) {
                int at = i;
                rows.replaceAll(row -> withoutMicros(row, at));
            }
        }
        if (wanted.has("order")) {
            Comparator<List<String>> byText = Comparator.comparing(String::valueOf);
            rows.sort(byText);
            got.sort(byText);
        }
        Check.equal(got, rows, "the answer");
    }
}
