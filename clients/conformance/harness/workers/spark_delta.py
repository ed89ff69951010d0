"""Spark reads and writes Delta tables, with delta-spark."""

import os
import pathlib

from lines import serve
from pyspark.sql import SparkSession

SETTINGS = {
    "spark.jars": ",".join(str(path) for path in sorted(pathlib.Path(os.environ["DELTA_JARS"]).glob("*.jar"))),
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.driver.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # For small tables on one machine.
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "1",
}

builder = SparkSession.builder.master("local[2]")
for name, value in SETTINGS.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")


def frame(location, version=None):
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(location)


def read(location, version, to):
    frame(location, version).coalesce(1).write.parquet(to)


def save(mode):
    return lambda location: frame(location).limit(1).write.format("delta").mode(mode).save(location)


def sql(text):
    return lambda location: spark.sql(text.format(t=f"delta.`{location}`")).collect()


serve(
    read,
    {
        "insert": sql("INSERT INTO {t} SELECT * FROM {t} LIMIT 1"),
        "append": save("append"),
        "overwrite": save("overwrite"),
        "delete": sql("DELETE FROM {t} WHERE id = 1"),
        "update": sql("UPDATE {t} SET i8 = 1 WHERE id = 1"),
        "merge": sql("MERGE INTO {t} AS t USING (SELECT 1 AS id) AS s ON t.id = s.id WHEN MATCHED THEN DELETE"),
        # Without an order it would find nothing to do in a table of one file.
        "optimize": sql("OPTIMIZE {t} ZORDER BY (id)"),
        "add column": sql("ALTER TABLE {t} ADD COLUMN another INT"),
        "vacuum": sql("VACUUM {t}"),
        "restore": sql("RESTORE TABLE {t} TO VERSION AS OF 0"),
    },
)
