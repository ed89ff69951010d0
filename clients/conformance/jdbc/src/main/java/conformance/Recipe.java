package conformance;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;

/** Does what the documentation shows work? The lines of server/docs/clients.md, but for the URL. */
final class Recipe {
    private Recipe() {}

    static List<String> run(String url) throws SQLException {
        List<String> names = new ArrayList<>();
        // The recipe begins.
        try (Connection connection = DriverManager.getConnection(url);
                PreparedStatement select =
                        connection.prepareStatement("SELECT name FROM t WHERE id >= ?")) {
            select.setLong(1, 1);
            ResultSet rows = select.executeQuery();
            while (rows.next()) {
                names.add(rows.getString("name"));
            }
        }
        // The recipe ends.
        return names;
    }
}
