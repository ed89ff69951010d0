package conformance;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;

import java.math.BigDecimal;
import java.sql.Array;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Calendar;
import java.util.HexFormat;
import java.util.List;
import java.util.TimeZone;

/** Which text do the shared cases have for a value, and which JDBC type for an Arrow type? */
final class Values {
    private static final DateTimeFormatter MICROS =
            DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss.SSSSSS");
    private static final Gson JSON =
            new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    private Values() {}

    static int jdbcType(String arrow) {
        return switch (arrow.replaceAll("[(<].*", "")) {
            case "bool" -> Types.BOOLEAN;
            case "int8", "uint8" -> Types.TINYINT;
            case "int16", "uint16" -> Types.SMALLINT;
            case "int32", "uint32" -> Types.INTEGER;
            case "int64", "uint64" -> Types.BIGINT;
            case "float32" -> Types.FLOAT;
            case "float64" -> Types.DOUBLE;
            case "decimal128" -> Types.DECIMAL;
            case "utf8" -> Types.VARCHAR;
            case "binary" -> Types.VARBINARY;
            case "date32" -> Types.DATE;
            case "time64[us]" -> Types.TIME;
            case "timestamp[us]" -> Types.TIMESTAMP;
            case "timestamp[us, UTC]" -> Types.TIMESTAMP_WITH_TIMEZONE;
            case "list" -> Types.ARRAY;
            case "struct" -> Types.JAVA_OBJECT;
            case "null" -> Types.NULL;
            default -> throw new IllegalArgumentException("there is no type " + arrow);
        };
    }

    /** All rows as texts. Without `types` (Arrow's) they are guessed from JDBC's. */
    static List<List<String>> rows(ResultSet result, List<String> types) throws SQLException {
        try (result) {
            ResultSetMetaData columns = result.getMetaData();
            List<List<String>> out = new ArrayList<>();
            while (result.next()) {
                List<String> row = new ArrayList<>();
                for (int i = 1; i <= columns.getColumnCount(); i++) {
                    row.add(
                            text(
                                    result,
                                    i,
                                    columns.getColumnType(i),
                                    types == null ? "" : types.get(i - 1)));
                }
                out.add(row);
            }
            return out;
        }
    }

    private static String text(ResultSet result, int i, int jdbcType, String arrow)
            throws SQLException {
        // Not getObject(), which takes the zone of the JVM for times.
        String value = result.getString(i);
        if (value == null) {
            Check.that(result.wasNull(), "wasNull() after a NULL");
            return null;
        }
        return switch (jdbcType) {
            case Types.DATE -> result.getDate(i).toString();
            case Types.TIME -> time(result, i);
            case Types.TIMESTAMP, Types.TIMESTAMP_WITH_TIMEZONE ->
                    MICROS.format(utc(result.getTimestamp(i, calendar())));
            case Types.FLOAT, Types.REAL ->
                    arrow.equals("float64")
                            ? fraction(result.getDouble(i), false)
                            : fraction(result.getFloat(i), true);
            case Types.DOUBLE -> fraction(result.getDouble(i), false);
            case Types.DECIMAL -> result.getBigDecimal(i).toPlainString();
            case Types.VARBINARY, Types.BINARY, Types.LONGVARBINARY ->
                    HexFormat.of().formatHex(result.getBytes(i));
            case Types.BIGINT ->
                    arrow.equals("uint64") ? Long.toUnsignedString(result.getLong(i)) : value;
            case Types.ARRAY -> JSON.toJson(plain(result.getArray(i)));
            case Types.JAVA_OBJECT -> JSON.toJson(result.getObject(i));
            default -> value;
        };
    }

    static Calendar calendar() {
        return Calendar.getInstance(TimeZone.getTimeZone("UTC"));
    }

    private static LocalDateTime utc(Timestamp value) {
        return LocalDateTime.ofInstant(value.toInstant(), ZoneOffset.UTC);
    }

    /** JDBC's times have milliseconds; the rest of the digits is in the text alone. */
    private static String time(ResultSet result, int i) throws SQLException {
        String text = result.getString(i);
        return text.contains(".") ? (text + "000000").substring(0, 15) : text + ".000000";
    }

    /** As Python and Go write it: `1e+308`, not `1.0E308`. */
    private static String fraction(double value, boolean isSingle) {
        String text = isSingle ? Float.toString((float) value) : Double.toString(value);
        if (!text.contains("E")) {
            return text;
        }
        BigDecimal plain = new BigDecimal(text);
        if (Math.abs(value) < 1e16 && Math.abs(value) >= 1e-4) {
            String digits = plain.stripTrailingZeros().toPlainString();
            return digits.contains(".") ? digits : digits + ".0";
        }
        String[] parts = text.replace(".0E", "E").split("E");
        int exponent = Integer.parseInt(parts[1]);
        return parts[0]
                + "e"
                + (exponent < 0 ? "-" : "+")
                + (Math.abs(exponent) < 10 ? "0" : "")
                + Math.abs(exponent);
    }

    private static Object plain(Object value) throws SQLException {
        if (value instanceof Array array) {
            return plain(array.getArray());
        }
        if (value instanceof Object[] elements) {
            List<Object> out = new ArrayList<>();
            for (Object element : elements) {
                out.add(plain(element));
            }
            return out;
        }
        return value == null || value instanceof Number || value instanceof Boolean
                ? value
                : value.toString();
    }
}
