// What does somebody see who opens the server's address? Health, figures, tables, and a box for queries. Plain JavaScript for browsers
// of today; all data comes over POST /api/v1/sql from the system tables, with the rights of whoever signed in. Values are only ever
// put into the page as text.

const POLL_MS = 2_000;
const POLL_TIMEOUT_MS = 15_000;
const EVENTS_EVERY = 5;
const KEPT_MS = 5 * 60_000;
/** Averaged over this long, since batches come in bursts. */
const RATE_MS = 10_000;
/** A table that nobody wrote to for this long is idle: nothing lags behind. As long as the server keeps its watermark. */
const IDLE_S = 60;
const MAX_TABLES = 500;
const MAX_ROWS = 1_000;
const MAX_CELLS = 50_000;
const MAX_ANSWER_CHARS = 16 << 20;
const MAX_CELL_CHARS = 300;
const MAX_DOWNLOAD_BYTES = 2 ** 30;
const BEARER = "tidewater.bearer";

const $ = (id) => document.getElementById(id);

/** An element. Strings become text, never markup. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// ---------------------------------------------------------------------------------------------------------------- figures as text

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function count(n) {
  if (n >= 1e12) return `${(n / 1e12).toFixed(2)} T`;
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} G`;
  return n >= 1e7 ? `${(n / 1e6).toFixed(1)} M` : WHOLE.format(n);
}

const rate = (n) => (n > 0 && n < 10 ? n.toFixed(1) : count(n));

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; n >= 1024 && at < units.length - 1; at += 1) n /= 1024;
  return `${at > 0 && n < 100 ? n.toFixed(1) : WHOLE.format(n)} ${units[at]}`;
}

function span(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return seconds < 63_072_000 ? `${Math.round(seconds / 86_400)} days` : `${Math.round(seconds / 31_536_000)} years`;
}

const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const seconds = (later, earlier) => (Date.parse(later) - Date.parse(earlier)) / 1_000;
const instant = (text) => (text ? `${text.replace("T", " ").replace(/\.\d+/, "").replace("Z", "")} UTC` : "–");

// ------------------------------------------------------------------------------------------------------------- asking the server

/** Who is looking: what POST /api/v1/session said. */
let session = null;

/** The bearer is of this tab alone and ends with it. */
const bearer = {
  get: () => sessionStorage.getItem(BEARER),
  set: (token) => (token ? sessionStorage.setItem(BEARER, token) : sessionStorage.removeItem(BEARER)),
};

/** An answer that is an error. `problem` is its JSON (RFC 9457). */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || `the server answered ${status}`);
    Object.assign(this, { status, problem });
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const authorization = options.authorization || (bearer.get() && `Bearer ${bearer.get()}`);
  if (authorization) headers.Authorization = authorization;
  // Without credentials of the browser's own: it neither asks for a password itself nor sends one that it remembers.
  const answer = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store", redirect: "error" });
  if (answer.ok) return answer;
  let problem = {};
  try {
    problem = JSON.parse(await answer.text());
  } catch {
    // A proxy answered, or the answer broke off: the status says what there is to say.
  }
  throw new Refused(answer.status, problem);
}

function post(body, { accept = "application/json", signal } = {}) {
  const headers = { "Content-Type": "application/json", Accept: accept };
  return ask("/api/v1/sql", { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** The rows of a small statement, as objects. */
async function rows(sql, params = [], signal = AbortSignal.timeout(POLL_TIMEOUT_MS)) {
  const answer = await (await post({ sql, params }, { signal })).json();
  return answer.rows.map((row) => Object.fromEntries(answer.schema.map((column, at) => [column.name, row[at]])));
}

// --------------------------------------------------------------------------------------------------------------------- the address

/** What can be linked to: the open table, the order of tables, the statement. A statement in an address is never run by itself. */
const place = { table: null, sort: "", sql: "" };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  place.table = given.get("table");
  place.sort = given.get("sort") || "";
  place.sql = given.get("sql") || "";
}

function address(change = {}) {
  const next = { ...place, ...change };
  const parts = new URLSearchParams();
  for (const name of ["table", "sort", "sql"]) if (next[name]) parts.set(name, next[name]);
  return `#${parts}`;
}

function setAddress(change, { isStep = false } = {}) {
  const before = location.hash;
  const next = address(change);
  Object.assign(place, change);
  if (next !== (before || "#")) history[isStep ? "pushState" : "replaceState"](null, "", next === "#" ? location.pathname : next);
}

// ------------------------------------------------------------------------------------------------------------------- who is looking

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

async function begin(authorization) {
  const answer = await ask("/api/v1/session", { method: "POST", authorization, signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
  session = await answer.json();
  bearer.set(session.token);
  $("sign-in").hidden = true;
  $("inside").hidden = false;
  const isOpen = session.access === "off";
  $("access").classList.toggle("open", isOpen);
  const rights = session.admin ? "admin" : "not an admin: tables and queries of others may be hidden";
  setText($("access"), isOpen ? "Access off: everyone on this machine is admin" : `Signed in as ${session.user} (${rights})`);
  $("sign-out").hidden = isOpen;
  setText($("version"), `Tidewater ${session.version}`);
  startTiles();
  poll();
}

function showSignIn(reason, { isLeaving = false } = {}) {
  session = null;
  bearer.set(null);
  cancel();
  closeDrawer();
  forget(isLeaving);
  $("inside").hidden = true;
  $("sign-in").hidden = false;
  $("sign-out").hidden = true;
  $("access").classList.remove("open");
  setText($("access"), "Access on: sign in");
  setText($("sign-in-problem"), reason || "");
  document.title = "Sign in · Tidewater";
  $($("by-token").hidden ? "user" : "token").focus();
}

/** What somebody saw is not left for the next one. Whose session ended while they typed finds the statement again. */
function forget(isLeaving) {
  tables = [];
  now = null;
  samples.length = 0;
  nPolls = 0;
  hasFirstSteps = false;
  knownColumns.clear();
  answered = null;
  for (const id of ["problems", "example-list", "example-table"]) for (const name of Object.keys($(id).dataset)) delete $(id).dataset[name];
  for (const id of ["answer", "events", "problems", "example-list", "example-table"]) $(id).replaceChildren();
  $("tables").tBodies[0].replaceChildren();
  for (const id of ["answer", "downloads", "sql-notice", "sql-problem", "examples", "tables-card", "events-card"]) $(id).hidden = true;
  setText($("run-note"), "");
  if (isLeaving) {
    $("sql").value = "";
    setAddress({ table: null, sql: "" });
  }
}

async function signIn(event) {
  event.preventDefault();
  const isToken = $("by-password").hidden;
  const authorization = isToken ? `Bearer ${$("token").value.trim()}` : `Basic ${base64(`${$("user").value}:${$("password").value}`)}`;
  setText($("sign-in-problem"), "");
  try {
    await begin(authorization);
    for (const id of ["password", "token"]) $(id).value = "";
    $("sql").focus({ preventScroll: true });
  } catch (reason) {
    setText($("sign-in-problem"), sentence(reason));
    $(isToken ? "token" : "password").select();
  }
}

function otherWay() {
  const toToken = $("by-token").hidden;
  $("by-token").hidden = !toToken;
  $("by-password").hidden = toToken;
  setText($("other-way"), toToken ? "Use a password" : "Use a token");
  $(toToken ? "token" : "user").focus();
}

function signOut() {
  // If the server cannot be told, the session ends there by itself.
  ask("/api/v1/session", { method: "DELETE" }).catch(() => {});
  showSignIn("", { isLeaving: true });
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function sentence(reason) {
  if (reason instanceof Refused) return capital([reason.message, reason.problem.hint].filter(Boolean).join(": "));
  return reason.name === "TimeoutError" ? "The server does not answer." : "The server cannot be reached.";
}

/** Starts with what the tab still knows. */
async function start() {
  if (document.hidden) return document.addEventListener("visibilitychange", start, { once: true });
  try {
    await begin();
  } catch (reason) {
    // That nobody is known yet is no fault of the visitor's, unless there is no user at all.
    if (reason.status === 401) return showSignIn(bearer.get() ? sentence(reason) : /no user/.test(reason.problem.hint) ? capital(reason.problem.hint) : "");
    $("inside").hidden = false;
    unreachable(reason);
    setTimeout(start, POLL_MS);
  }
}

// ------------------------------------------------------------------------------------------------------------------------ polling

/** Of system.tables: those that are not well first, then those written to last. */
let tables = [];
let nTables = 0;
let now = null;
/** The last five minutes: figures by name, and rows by table. */
const samples = [];
let timer = null;
let isPolling = false;
let nPolls = 0;

const OWN = "/* console */ ";
const SQL_TABLES = `${OWN}SELECT now() AS now, count(*) OVER () AS n_tables, id, schema, name, key_columns, time_column, realtime_rows, built_rows,
  sealed_rows, deleted_rows, sealed_files, realtime_bytes, sealed_bytes, watermark, last_write_at, last_seal_at, health, health_reason
FROM system.tables ORDER BY health = 'ok', last_write_at DESC NULLS LAST, schema, name LIMIT ${MAX_TABLES}`;
const SQL_RUNNING = `SELECT count(*) FROM system.queries WHERE state IN ('planning', 'waiting', 'running') AND sql NOT LIKE '${OWN}%'`;
const outcome = (kind) => `sum(value) FILTER (WHERE name = 'tidewater_ingest_rows_total' AND labels LIKE '%"outcome":"${kind}"%') AS ${kind}`;
const SQL_METRICS = `${OWN}SELECT ${["accepted", "duplicate", "rejected"].map(outcome).join(", ")},
  sum(value) FILTER (WHERE name = 'tidewater_memory_used_bytes') AS memory,
  max(value) FILTER (WHERE name = 'tidewater_memory_limit_bytes') AS memory_limit, (${SQL_RUNNING}) AS running FROM system.metrics`;
const SQL_EVENTS = `${OWN}SELECT now() AS now, at, level, kind, principal, message, details FROM system.events ORDER BY at DESC LIMIT 12`;

async function poll() {
  clearTimeout(timer);
  if (!session || isPolling || document.hidden) return;
  isPolling = true;
  const asking = session;
  try {
    const ready = await readiness();
    const found = await rows(SQL_TABLES);
    const [figures] = await rows(session?.admin ? SQL_METRICS : `${OWN}SELECT (${SQL_RUNNING}) AS running`);
    const events = asking.admin && nPolls % EVENTS_EVERY === 0 ? await rows(SQL_EVENTS) : null;
    // Somebody may have signed out meanwhile.
    if (session === asking) {
      nPolls += 1;
      take(found, figures);
      show(ready);
      if (events) showEvents(events);
    }
  } catch (reason) {
    if (session === asking) {
      if (reason.status === 401) showSignIn(sentence(reason));
      else unreachable(reason);
    }
  } finally {
    isPolling = false;
    timer = setTimeout(poll, POLL_MS);
  }
}

/** What keeps the server from working, a line each. */
async function readiness() {
  const answer = await fetch("/readyz", { credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(POLL_TIMEOUT_MS) });
  return answer.status === 503 ? (await answer.text()).split("\n").filter(Boolean) : [];
}

function take(found, figures) {
  tables = found;
  nTables = found.length ? Number(found[0].n_tables) : 0;
  now = found.length ? found[0].now : new Date().toISOString();
  const at = performance.now();
  const byTable = new Map(found.map((table) => [table.id, total(table) + Number(table.deleted_rows)]));
  const numbers = Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, Number(value ?? 0)]));
  samples.push({ at, ...numbers, byTable });
  while (samples.length && samples[0].at < at - KEPT_MS - RATE_MS) samples.shift();
}

const total = (table) => Number(table.realtime_rows) + Number(table.built_rows) + Number(table.sealed_rows);

/** How fast a figure grew up to the sample at `end`, a second; null where nobody can say: at the beginning, after a gap, a restart. */
function growth(value, end = samples.length - 1) {
  let start = end;
  while (start > 0 && samples[end].at - samples[start - 1].at <= RATE_MS && isNear(start)) start -= 1;
  if (start === end) return null;
  const grown = value(samples[end]) - value(samples[start]);
  return grown >= 0 ? (grown * 1_000) / (samples[end].at - samples[start].at) : null;
}

/** Whether the page asked without a pause between this sample and the one before. */
const isNear = (at) => samples[at].at - samples[at - 1].at < 3 * POLL_MS;

/** Rows that were stored. An admin's figure counts what came in, that of others how their tables grew. */
const accepted = (sample) => sample.accepted ?? [...sample.byTable.values()].reduce((sum, n) => sum + n, 0);

// ------------------------------------------------------------------------------------------------------------------------- health

function freshness(table) {
  if (!table.last_write_at) return { text: "no write yet", since: Infinity };
  const since = seconds(now, table.last_write_at);
  if (since > IDLE_S) return { text: `idle, ${span(since)} ago`, since };
  const behind = table.watermark ? Math.max(0, seconds(table.last_write_at, table.watermark)) : null;
  return { text: behind === null ? `written ${span(since)} ago` : `${span(behind)} behind`, since, behind };
}

const CURES = {
  failed: "Ingest into this table has stopped; queries answer from what is stored. Mend the cause, then restart the server.",
  damaged: "Only queries that need a damaged file fail. Put a copy of the file in its place and run CALL verify, or accept the loss with CALL give_up.",
};

function cureOf(line) {
  if (line.startsWith("ingest:")) return "No rows are taken until this is mended; queries go on. Those who send try again and lose nothing.";
  return line === "shutting down" ? "It answers what it was asked, and ends." : "";
}

function show(ready) {
  const sick = tables.filter((table) => table.health !== "ok");
  const names = new Set(sick.map(fullName));
  const problems = sick.map((table) => ({
    what: `Table ${fullName(table)}: ${table.health_reason || table.health}`,
    cure: CURES[table.health] || "",
    sql: table.health === "damaged" ? damagedFiles(table) : tableRow(table),
  }));
  for (const line of ready) {
    const named = /^table (.+?): /.exec(line);
    if (!named || !names.has(named[1])) problems.push({ what: capital(line), cure: cureOf(line), sql: null });
  }
  const kind = problems.length ? "bad" : "ok";
  const incoming = growth(accepted) ?? 0;
  const facts = [nTables ? plural(nTables, "table") : "No table yet"];
  const dropped = growth((sample) => sample.duplicate ?? 0) ?? 0;
  const none = dropped > 0 ? `only duplicates coming in (${rate(dropped)} rows/s)` : "no rows coming in";
  if (nTables) facts.push(incoming > 0 ? `${rate(incoming)} rows/s in` : none);
  const known = tables.map(freshness);
  const behind = known.filter((fresh) => fresh.behind !== undefined && fresh.behind !== null && fresh.behind < 86_400);
  const last = Math.min(...known.map((fresh) => fresh.since));
  if (behind.length) facts.push(`freshest ${span(Math.min(...behind.map((fresh) => fresh.behind)))} behind`);
  else if (Number.isFinite(last)) facts.push(`last write ${span(last)} ago`);
  const state = kind === "ok" ? "Healthy." : `${plural(problems.length, "problem")}.`;
  showHealth(kind, `${state} ${facts.join(", ")}.`, problems);
  $("health").classList.toggle("busy", kind === "ok" && incoming > 0);
  showTiles();
  showTables();
  $("first-steps").hidden = nTables > 0;
  if (!nTables) showFirstSteps();
  showOpenTable();
}

function showHealth(kind, text, problems) {
  $("health").className = `health ${kind}`;
  setText($("sentence-text"), text);
  // Readers of screens hear of changes, not of every new figure.
  const heard = kind === "ok" ? "Healthy" : problems.map((problem) => problem.what).join(". ");
  setText($("announce"), heard);
  document.title = `${kind === "ok" ? "" : "⚠ "}Tidewater · ${location.host}`;
  const shown = JSON.stringify(problems);
  if ($("problems").dataset.shown === shown) return;
  $("problems").dataset.shown = shown;
  const item = ({ what, cure, sql }) =>
    el("li", {}, el("strong", {}, what), cure, ...(sql ? [" ", el("button", { type: "button", onclick: () => putSql(sql) }, "Open as SQL")] : []));
  $("problems").replaceChildren(...problems.map(item));
}

function unreachable(reason) {
  const isRefusal = reason instanceof Refused;
  const what = isRefusal ? sentence(reason) : "This page gets no answers from the server";
  const cure = isRefusal ? "The page goes on asking." : "Is the process running, and is its log quiet? The page goes on asking.";
  showHealth("bad", isRefusal ? "The server refuses to say how it is." : "The server cannot be reached.", [{ what, cure, sql: null }]);
}

// -------------------------------------------------------------------------------------------------------------------------- tiles

const TILES = [
  { id: "rows", name: "Rows in", unit: "rows/s", value: (at) => growth(accepted, at), text: rate },
  { id: "duplicates", name: "Duplicates dropped", unit: "rows/s", value: (at) => growth((s) => s.duplicate, at), text: rate, admin: true, isShare: true },
  { id: "rejected", name: "Rejected", unit: "rows/s", value: (at) => growth((s) => s.rejected, at), text: rate, admin: true, isBad: true },
  { id: "running", name: "Queries running", unit: "", value: (at) => samples[at].running, text: count },
  { id: "memory", name: "Memory", unit: "", value: (at) => samples[at].memory, text: bytes, admin: true },
];

const SVG = "http://www.w3.org/2000/svg";
const SPARK = { width: 300, height: 46 };

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function startTiles() {
  const shown = TILES.filter((tile) => session.admin || !tile.admin);
  $("tiles").replaceChildren(
    ...shown.map((tile) => {
      const { width, height } = SPARK;
      tile.spark = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
      tile.area = svg("path", { class: "area" });
      tile.line = svg("path", { class: "line" });
      tile.spark.append(svg("line", { class: "base", x1: 0, x2: width, y1: height, y2: height }), tile.area, tile.line);
      tile.number = el("span", {}, "–");
      tile.sub = el("span", { class: "sub" });
      const value = el("span", { class: "value" }, tile.number, el("span", { class: "unit" }, tile.unit));
      tile.node = el("li", { class: "tile", "data-tile": tile.id }, el("span", { class: "name" }, tile.name), value, tile.sub, tile.spark);
      return tile.node;
    }),
  );
}

function showTiles() {
  for (const tile of TILES.filter((tile) => session.admin || !tile.admin)) {
    const points = samples.map((sample, at) => ({ at: sample.at, value: tile.value(at), isNear: at > 0 && isNear(at) }));
    const last = points.at(-1).value;
    const peak = points.reduce((most, point) => Math.max(most, point.value ?? 0), 0);
    setText(tile.number, last === null ? "–" : tile.text(last));
    const limit = samples.at(-1).memory_limit;
    const isMemory = tile.id === "memory" && limit > 0;
    const all = (growth(accepted) ?? 0) + last;
    let sub = peak > 0 ? `peak ${tile.text(peak)}` : last === null ? "measuring …" : "none in five minutes";
    if (isMemory) sub = `${((100 * last) / limit).toFixed(1)} % of ${bytes(limit)}`;
    else if (tile.isShare && last > 0) sub = `${((100 * last) / all).toFixed(1)} % of the rows, peak ${tile.text(peak)}`;
    setText(tile.sub, sub);
    tile.node.classList.toggle("attention", tile.isBad ? last > 0 : isMemory && last > 0.9 * limit);
    tile.spark.setAttribute("aria-label", `${tile.name}, last five minutes: now ${tile.number.textContent} ${tile.unit}, ${tile.sub.textContent}`);
    draw(tile, points, peak);
  }
}

/** A line for each stretch without a gap, from five minutes ago at the left to now at the right. */
function draw(tile, points, peak) {
  const { width, height } = SPARK;
  const end = points.at(-1).at;
  const x = (at) => (width * (1 - (end - at) / KEPT_MS)).toFixed(1);
  const y = (value) => (height - 1 - (peak > 0 ? (value / peak) * (height - 6) : 0)).toFixed(1);
  const stretches = [];
  for (const point of points) {
    if (point.value === null || point.at < end - KEPT_MS) continue;
    if (!stretches.length || !point.isNear) stretches.push([]);
    stretches.at(-1).push(`${x(point.at)} ${y(point.value)}`);
  }
  const lines = stretches.map((stretch) => `M${stretch.join("L")}`);
  tile.line.setAttribute("d", lines.join(""));
  tile.area.setAttribute(
    "d",
    stretches.map((stretch, at) => `${lines[at]}L${stretch.at(-1).split(" ")[0]} ${height}L${stretch[0].split(" ")[0]} ${height}Z`).join(""),
  );
}

// ------------------------------------------------------------------------------------------------------------------ list of tables

const fullName = (table) => `${table.schema}.${table.name}`;
const shortName = (table) => (table.schema === "public" ? table.name : fullName(table));
const speed = (table) => growth((sample) => sample.byTable.get(table.id) ?? 0);

const COLUMNS = [
  { id: "name", name: "Name", sort: fullName },
  { id: "health", name: "Health", sort: (t) => t.health, text: (t) => t.health, isHealth: true },
  { id: "rate", name: "Rows/s", sort: (t) => speed(t) ?? 0, text: (t) => rate(speed(t) ?? 0), isNumber: true },
  { id: "realtime", name: "Realtime", sort: (t) => Number(t.realtime_rows), text: (t) => count(Number(t.realtime_rows)), isNumber: true },
  { id: "built", name: "Built", sort: (t) => Number(t.built_rows), text: (t) => count(Number(t.built_rows)), isNumber: true },
  { id: "sealed", name: "Sealed", sort: (t) => Number(t.sealed_rows), text: (t) => count(Number(t.sealed_rows)), isNumber: true },
  { id: "bytes", name: "Sealed size", sort: (t) => Number(t.sealed_bytes), text: (t) => bytes(Number(t.sealed_bytes)), isNumber: true },
  { id: "files", name: "Files", sort: (t) => Number(t.sealed_files), text: (t) => count(Number(t.sealed_files)), isNumber: true },
  { id: "fresh", name: "Freshness", sort: (t) => freshness(t).since, text: (t) => freshness(t).text },
  { id: "key", name: "Key", sort: (t) => t.key_columns || "", text: (t) => t.key_columns || "–" },
  { id: "time", name: "Time", sort: (t) => t.time_column || "", text: (t) => t.time_column || "–" },
];

/** Such as `rate-desc`. Without one: as the server sends them, those with problems and those written to last first. */
function order() {
  const [id, direction] = place.sort.split("-");
  return { column: COLUMNS.find((column) => column.id === id), sign: direction === "desc" ? -1 : 1 };
}

function startTables() {
  const heads = COLUMNS.map((column) => {
    const arrow = el("span", { class: "arrow", "aria-hidden": "true" });
    const button = el("button", { type: "button", onclick: () => sortBy(column) }, ...(column.isNumber ? [arrow, column.name] : [column.name, arrow]));
    column.head = el("th", { scope: "col", class: column.isNumber && "num" }, button);
    column.arrow = arrow;
    return column.head;
  });
  $("tables").tHead.rows[0].replaceChildren(...heads);
}

function sortBy(column) {
  const { column: current, sign } = order();
  const first = column.isNumber ? "desc" : "asc";
  const next = current !== column ? first : (sign === 1) === (first === "asc") ? (first === "asc" ? "desc" : "asc") : null;
  setAddress({ sort: next ? `${column.id}-${next}` : "" });
  showTables();
}

function sorted() {
  const { column, sign } = order();
  if (!column) return tables;
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  return [...tables].sort((a, b) => sign * compare(column.sort(a), column.sort(b)) || compare(fullName(a), fullName(b)));
}

function showTables() {
  $("tables-card").hidden = !tables.length;
  setText($("tables-note"), nTables > tables.length ? `${tables.length} of ${count(nTables)}: those written to last` : "");
  const { column, sign } = order();
  for (const each of COLUMNS) {
    if (each === column) each.head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    else each.head.removeAttribute("aria-sort");
    setText(each.arrow, each === column ? (sign === 1 ? "▲" : "▼") : "");
  }
  const body = $("tables").tBodies[0];
  const old = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  sorted().forEach((table, at) => {
    const row = old.get(table.id) || newRow(table);
    old.delete(table.id);
    COLUMNS.forEach((each, cell) => {
      if (each.text) setText(each.isHealth ? row.cells[cell].firstChild : row.cells[cell], each.text(table));
    });
    const link = row.cells[0].firstChild;
    setText(link, shortName(table));
    link.setAttribute("href", address({ table: fullName(table) }));
    row.cells[1].firstChild.classList.toggle("bad", table.health !== "ok");
    row.cells[1].title = table.health_reason || "";
    row.cells[8].title = `last write ${instant(table.last_write_at)}`;
    // A row that stays where it is keeps the focus that it may have.
    if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] || null);
  });
  for (const row of old.values()) row.remove();
  showExamples();
}

function newRow(table) {
  const cells = COLUMNS.slice(1).map((column) => el("td", { class: column.isNumber && "num" }, ...(column.isHealth ? [el("span", { class: "pill" })] : [])));
  const row = el("tr", { "data-id": table.id }, el("th", { scope: "row" }, el("a", {})), ...cells);
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) row.querySelector("a").click();
  });
  return row;
}

// ------------------------------------------------------------------------------------------------------------------ one table open

const RESERVED = new Set(
  `all and any array as asc at between both by case cast check column constraint create cross current default delete desc distinct drop else end
  except exists extract false fetch filter for foreign from full grant group having in inner insert intersect interval into is join leading
  left like limit natural not null offset on or order outer over partition primary qualify references right row rows select set some table then
  timestamp time to trailing true union unique unnest update user using values when where window with`.split(/\s+/),
);

const quoted = (name) => (/^[a-z_][a-z0-9_]*$/.test(name) && !RESERVED.has(name) ? name : `"${name.replaceAll('"', '""')}"`);
const literal = (text) => `'${text.replaceAll("'", "''")}'`;
const path = (table) => (table.schema === "public" ? quoted(table.name) : `${quoted(table.schema)}.${quoted(table.name)}`);
const tableRow = (table) => `SELECT * FROM system.tables WHERE schema = ${literal(table.schema)} AND name = ${literal(table.name)}`;
const ofTable = (table) => `table_id = (SELECT id FROM system.tables WHERE schema = ${literal(table.schema)} AND name = ${literal(table.name)})`;
const damagedFiles = (table) => `SELECT id, path, rows, damage, damaged_at FROM system.segments\nWHERE damage IS NOT NULL AND ${ofTable(table)}`;

/** The table that the drawer shows, by its id. */
let open = null;

function showOpenTable() {
  const table = place.table && tables.find((each) => fullName(each) === place.table);
  // The drawer may also show a row of an answer, which stays.
  if (!table) return open ? closeDrawer() : undefined;
  if (open !== table.id) openDrawer(table);
  else showFacts(table);
}

function facts(pairs, style = "") {
  return el("dl", { class: `facts ${style}` }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function showFacts(table) {
  const pairs = [
    ["Health", table.health_reason ? `${table.health}: ${table.health_reason}` : table.health],
    ["Rows", count(total(table))],
    ["Of them", `${count(Number(table.realtime_rows))} realtime, ${count(Number(table.built_rows))} built, ${count(Number(table.sealed_rows))} sealed`],
    ["Bytes", `${bytes(Number(table.realtime_bytes))} realtime, ${bytes(Number(table.sealed_bytes))} sealed in ${plural(Number(table.sealed_files), "file")}`],
    ["Freshness", freshness(table).text],
    ["Last write", instant(table.last_write_at)],
    ["Last seal", instant(table.last_seal_at)],
    ["Primary key", table.key_columns || "none"],
    ["Time column", table.time_column || "none"],
  ];
  $("drawer-body").querySelector(".live").replaceChildren(facts(pairs));
}

async function openDrawer(table) {
  open = table.id;
  setText($("drawer-title"), fullName(table));
  const columns = el("div", {}, "…");
  const segments = el("div", {}, "…");
  const options = el("div", {}, "…");
  const toQuery = (sql) => () => {
    closeDrawer();
    setAddress({ table: null }, { isStep: true });
    putSql(sql);
  };
  const button = (text, sql) => el("button", { type: "button", onclick: toQuery(sql) }, text);
  $("drawer-body").replaceChildren(
    el("div", { class: "row" }, button("Query it", firstRows(table)), button("Segments as SQL", segmentsOf(table)), button("Rejected rows as SQL", rejectedOf(table))),
    el("h3", {}, "Now"), el("div", { class: "live" }),
    el("h3", {}, "Columns"), columns,
    el("h3", {}, "Last segments"), segments,
    el("h3", {}, "Options"), options,
  );
  showFacts(table);
  if (!$("drawer").open) $("drawer").showModal();
  $("drawer").scrollTop = 0;
  const fill = async (node, work) => {
    try {
      node.replaceChildren(await work());
    } catch (reason) {
      node.replaceChildren(el("p", { class: "problem" }, sentence(reason)));
    }
  };
  await fill(columns, async () =>
    small("Columns", ["Name", "Type", "NULL"], (await columnsOf(table)).map((c) => [c.name, c.sql_type, c.nullable ? "yes" : "no"])));
  await fill(segments, async () => {
    const found = await rows(`${OWN}${segmentsOf(table)}`);
    const line = (s) => [s.kind, count(Number(s.rows)), bytes(Number(s.bytes)), instant(s.min_time), instant(s.max_time), s.damage || ""];
    return found.length ? small("Segments", ["Kind", "Rows", "Bytes", "From", "To", "Damage"], found.map(line), [1, 2]) : el("p", { class: "muted" }, "None: the table is empty.");
  });
  await fill(options, async () => {
    const [{ options: text }] = await rows(`${OWN}SELECT options FROM system.tables WHERE id = $1`, [table.id]);
    return facts(Object.entries(JSON.parse(text)).map(([name, value]) => [name, String(value)]), "mono");
  });
}

function small(label, heads, lines, numbers = []) {
  const kind = (at) => numbers.includes(at) && "num";
  const head = el("thead", {}, el("tr", {}, ...heads.map((name, at) => el("th", { scope: "col", class: kind(at) }, name))));
  const body = el("tbody", {}, ...lines.map((line) => el("tr", {}, ...line.map((text, at) => el("td", { class: kind(at) }, text)))));
  return el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, el("table", {}, head, body));
}

function closeDrawer() {
  open = null;
  if ($("drawer").open) $("drawer").close();
}

// ------------------------------------------------------------------------------------------------------------------------ examples

const firstRows = (table) => `SELECT * FROM ${path(table)}${table.time_column ? `\nORDER BY ${quoted(table.time_column)} DESC` : ""}\nLIMIT 100`;
const segmentsOf = (table) =>
  `SELECT kind, rows, deleted, bytes, min_time, max_time, created_at, path, damage FROM system.segments\nWHERE ${ofTable(table)}\nORDER BY created_at DESC LIMIT 20`;
const rejectedOf = (table) =>
  `SELECT received_at, producer, row, "column", code, message, payload FROM system.rejected\nWHERE ${ofTable(table)}\nORDER BY received_at DESC LIMIT 100`;
const ledgerOf = (table) =>
  `SELECT minute, sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate,\n  sum(repeated) AS repeated, sum(rejected) AS rejected\n` +
  `FROM system.ledger WHERE ${ofTable(table)}\nGROUP BY minute ORDER BY minute DESC LIMIT 60`;

const knownColumns = new Map();

async function columnsOf(table) {
  if (!knownColumns.has(table.id)) {
    const asked = rows(`${OWN}SELECT name, sql_type, nullable FROM system.columns WHERE table_id = $1 ORDER BY position`, [table.id]);
    knownColumns.set(table.id, asked);
    // Columns can be added: they are asked for again later.
    asked.catch(() => {}).finally(() => setTimeout(() => knownColumns.delete(table.id), 30_000));
  }
  return knownColumns.get(table.id);
}

function examples(table, columns) {
  const own = new Set([table.time_column, ...(table.key_columns || "").split(", ")]);
  const group = columns.find((column) => column.sql_type === "VARCHAR" && !own.has(column.name) && !column.name.startsWith("_"));
  const found = [["First rows", firstRows(table)], ["Count", `SELECT count(*) FROM ${path(table)}`]];
  if (table.time_column) {
    const time = quoted(table.time_column);
    found.push(["Rows a minute", `SELECT date_trunc('minute', ${time}) AS minute, count(*) AS n\nFROM ${path(table)}\nGROUP BY minute ORDER BY minute DESC LIMIT 60`]);
  }
  if (group) found.push([`Top of ${group.name}`, `SELECT ${quoted(group.name)}, count(*) AS n\nFROM ${path(table)}\nGROUP BY ${quoted(group.name)} ORDER BY n DESC LIMIT 20`]);
  if (table.key_columns) found.push(["Duplicates dropped", ledgerOf(table)]);
  found.push(["Rejected rows", rejectedOf(table)]);
  return found;
}

async function showExamples() {
  const select = $("example-table");
  const names = tables.map(fullName).sort();
  $("examples").hidden = !names.length;
  if (select.dataset.names !== names.join("\n")) {
    const chosen = names.includes(select.value) ? select.value : tables.length ? fullName(tables[0]) : "";
    select.dataset.names = names.join("\n");
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name.replace(/^public\./, ""))));
    select.value = chosen;
  }
  const table = tables.find((each) => fullName(each) === select.value);
  if (!table || $("example-list").dataset.of === table.id) return;
  $("example-list").dataset.of = table.id;
  $("example-list").replaceChildren();
  try {
    const found = examples(table, await columnsOf(table));
    if ($("example-list").dataset.of !== table.id) return;
    $("example-list").replaceChildren(...found.map(([name, sql]) => el("button", { type: "button", onclick: () => putSql(sql) }, name)));
  } catch {
    // Asked again with the next figures.
    $("example-list").dataset.of = "";
  }
}

// ----------------------------------------------------------------------------------------------------------------------- query box

/** The statement that runs: what stops it. Closing the connection cancels the query at the server. */
let running = null;
/** The statement whose rows are shown. */
let answered = null;

/** Puts a statement into the box as if it was typed: what was there comes back by Ctrl-Z. */
function putSql(sql) {
  const box = $("sql");
  box.focus();
  box.select();
  // There is no other way that keeps the box's history of changes.
  if (!document.execCommand("insertText", false, sql)) box.value = sql;
  grow();
  setAddress({ sql });
  box.scrollIntoView({ block: "center" });
}

function grow() {
  const box = $("sql");
  const lines = Math.min(24, Math.max(4, box.value.split("\n").length + 1));
  if (box.rows < lines) box.rows = lines;
}

function cancel() {
  running?.abort();
}

async function run() {
  const box = $("sql");
  const chosen = box.value.slice(box.selectionStart, box.selectionEnd).trim();
  const isPart = chosen && chosen !== box.value.trim() && document.activeElement === box;
  const sql = isPart ? chosen : box.value.trim();
  if (!sql) return box.focus();
  cancel();
  const stop = new AbortController();
  running = stop;
  setAddress({ sql: box.value.trim() });
  clearAnswer();
  const started = performance.now();
  const tell = () => setText($("run-note"), `Running, ${span((performance.now() - started) / 1_000)} …`);
  const ticking = setInterval(tell, 100);
  tell();
  setRunning(true);
  try {
    const answer = await read(await post({ sql }, { signal: stop.signal }), stop);
    if (running === stop) showAnswer(sql, answer, performance.now() - started);
  } catch (reason) {
    if (running === stop) showProblem(reason, { sql, isPart, isCanceled: stop.signal.aborted });
  } finally {
    clearInterval(ticking);
    if (running === stop) {
      running = null;
      setRunning(false);
    }
  }
}

function setRunning(isRunning) {
  const hadFocus = document.activeElement === $("cancel");
  $("cancel").disabled = !isRunning;
  if (!isRunning && hadFocus) $("run").focus();
}

function clearAnswer() {
  answered = null;
  for (const id of ["answer", "downloads", "sql-notice", "sql-problem"]) $(id).hidden = true;
  $("answer").replaceChildren();
}

/** Reads an answer as it comes, a row a line, and stops after as many rows as are shown: the rest is never sent. */
async function read(response, stop) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const answer = { schema: null, rows: [], isCut: false, statistics: null, update: null };
  let rest = "";
  let n = 0;
  let most = MAX_ROWS;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    n += value.length;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!answer.schema) {
        if (!line.endsWith('"rows":[')) {
          rest = `${line}\n${rest}`;
          continue;
        }
        answer.schema = JSON.parse(`${line}]}`).schema;
        most = Math.min(MAX_ROWS, Math.max(20, Math.floor(MAX_CELLS / Math.max(1, answer.schema.length))));
      } else if (line.startsWith("]")) {
        answer.statistics = JSON.parse(`{"rows":[${line}`).statistics;
      } else if (answer.rows.length === most || n > MAX_ANSWER_CHARS) {
        answer.isCut = true;
      } else {
        answer.rows.push(JSON.parse(line.replace(/,$/, "")));
      }
      if (answer.isCut) {
        reader.cancel().catch(() => {});
        stop.abort();
        return answer;
      }
    }
  }
  if (!answer.schema) answer.update = JSON.parse(rest);
  else if (!answer.statistics) throw new TypeError("the answer broke off");
  return answer;
}

function took(ms) {
  return ms < 1_000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}

function showAnswer(sql, { schema, rows: found, isCut, statistics, update }, ms) {
  if (update) {
    const said = (update.notices || []).join("; ") || (update.affected_rows ? plural(update.affected_rows, "row") : "Done");
    setText($("run-note"), `${said}, ${took(ms)}`);
    poll();
    return;
  }
  answered = sql;
  const read = statistics && Number(statistics.rows_read_realtime) + Number(statistics.rows_read_sealed);
  const halves = read ? `; read ${count(Number(statistics.rows_read_realtime))} realtime, ${count(Number(statistics.rows_read_sealed))} sealed` : "";
  setText($("run-note"), isCut ? `First ${plural(found.length, "row")}, ${took(ms)}` : `${plural(found.length, "row")}, ${took(ms)}${halves}`);
  if (isCut) {
    setText($("sql-notice"), `Only the first ${plural(found.length, "row")} are shown, and the query was stopped there. A download has all rows; LIMIT and ORDER BY choose others.`);
  }
  $("sql-notice").hidden = !isCut;
  $("downloads").hidden = false;
  $("answer").replaceChildren(grid(schema, found));
  $("answer").hidden = false;
  $("answer").scrollTo(0, 0);
}

const isNumeric = (type) => /^(TINYINT|SMALLINT|INTEGER|INT|BIGINT|HUGEINT|REAL|FLOAT|DOUBLE|DECIMAL|NUMERIC|U[A-Z]*INT)/.test(type) && !type.endsWith("]");

function cellText(value) {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

/** NULL stands apart from an empty text, and from the text "NULL". */
function fillCell(cell, value, isWhole = false) {
  if (value === null) {
    cell.append(el("span", { class: "null" }, "NULL"));
    return cell;
  }
  const text = cellText(value);
  cell.append(isWhole || text.length <= MAX_CELL_CHARS ? text : `${text.slice(0, MAX_CELL_CHARS)}…`);
  return cell;
}

function grid(schema, found) {
  const kinds = schema.map((column) => isNumeric(column.type) && "num");
  const corner = el("th", { scope: "col", class: "num" }, "#");
  const heads = schema.map((column, at) => el("th", { scope: "col", class: kinds[at] }, column.name, el("small", {}, column.type)));
  const lines = found.map((row, n) => {
    const show = el("button", { type: "button", title: "Show the whole row", "aria-label": `Row ${n + 1}, show it whole`, onclick: () => showRow(schema, row, n) }, String(n + 1));
    return el("tr", {}, el("th", { scope: "row" }, show), ...row.map((value, at) => fillCell(el("td", { class: kinds[at] }), value)));
  });
  return el("table", {}, el("thead", {}, el("tr", {}, corner, ...heads)), el("tbody", {}, ...lines));
}

/** One row of the answer with every value as it is, however long. */
function showRow(schema, row, n) {
  setAddress({ table: null });
  open = null;
  setText($("drawer-title"), `Row ${n + 1}`);
  const pairs = schema.flatMap((column, at) => [el("dt", {}, column.name, el("br"), el("small", {}, column.type)), fillCell(el("dd", {}), row[at], true)]);
  $("drawer-body").replaceChildren(el("dl", { class: "facts mono" }, ...pairs));
  $("drawer").showModal();
  $("drawer").scrollTop = 0;
}

async function showProblem(reason, { sql, isPart, isCanceled }) {
  setText($("run-note"), isCanceled ? "Canceled" : "Failed");
  if (isCanceled) return;
  if (reason.status === 401) return showSignIn(sentence(reason));
  const problem = reason.problem || {};
  const box = $("sql-problem");
  const said = reason instanceof Refused ? reason.message : "The answer broke off. The limit or fault that stopped it is in system.queries, by its error_code.";
  const code = [problem.title, problem.code].filter(Boolean).join(" · ");
  box.replaceChildren(el("p", {}, capital(said)), ...(problem.hint ? [el("p", { class: "hint" }, `Hint: ${problem.hint}`)] : []), ...(code ? [el("p", { class: "code" }, code)] : []));
  box.hidden = false;
  const at = /at Line: (\d+), Column: (\d+)/.exec(said);
  if (at && !isPart && $("sql").value.trim() === sql) {
    const before = $("sql").value.trimStart().split("\n").slice(0, Number(at[1]) - 1).join("\n");
    const begin = $("sql").value.length - $("sql").value.trimStart().length;
    const offset = begin + (before ? before.length + 1 : 0) + Number(at[2]) - 1;
    $("sql").setSelectionRange(offset, offset);
  }
}

const FORMATS = {
  csv: { accept: "text/csv", type: "text/csv", ending: "csv" },
  arrow: { accept: "application/vnd.apache.arrow.stream", type: "application/vnd.apache.arrow.stream", ending: "arrows" },
  json: { accept: "application/json", type: "application/json", ending: "json" },
};

/** Runs the statement of the shown rows again and saves all rows. An answer that breaks off is not saved. */
async function download(format) {
  const sql = answered;
  if (!sql) return;
  cancel();
  const stop = new AbortController();
  running = stop;
  setRunning(true);
  $("sql-problem").hidden = true;
  const { accept, type, ending } = FORMATS[format];
  const started = performance.now();
  let n = 0;
  let isTooLarge = false;
  const counting = new TransformStream({
    transform(chunk, controller) {
      n += chunk.byteLength;
      if (n > MAX_DOWNLOAD_BYTES) {
        isTooLarge = true;
        stop.abort();
      }
      setText($("run-note"), `Downloading, ${bytes(n)} …`);
      controller.enqueue(chunk);
    },
  });
  try {
    setText($("run-note"), "Downloading …");
    const answer = await post({ sql }, { accept, signal: stop.signal });
    const blob = await new Response(answer.body.pipeThrough(counting), { headers: { "Content-Type": type } }).blob();
    const link = el("a", { href: URL.createObjectURL(blob), download: `answer.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    setText($("run-note"), `answer.${ending}, ${bytes(n)}, ${took(performance.now() - started)}`);
  } catch (reason) {
    if (running !== stop) return;
    if (isTooLarge) {
      const limit = `more than ${bytes(MAX_DOWNLOAD_BYTES)}: use the command line, tidewater sql --format ${format} -o FILE`;
      showProblem(new Refused(0, { detail: `The answer is too large for a browser, ${limit}` }), { sql, isPart: true });
    } else showProblem(reason, { sql, isPart: true, isCanceled: stop.signal.aborted });
  } finally {
    if (running === stop) {
      running = null;
      setRunning(false);
    }
  }
}

// -------------------------------------------------------------------------------------------------------------------------- events

function showEvents(found) {
  $("events-card").hidden = !session.admin;
  const items = found.map((event) => {
    const details = Object.entries(JSON.parse(event.details || "{}")).map(([name, value]) => `${name}=${cellText(value)}`).join(" ");
    const what = el("span", { class: "what" }, event.message, ...(details ? [" ", el("span", { class: "details" }, details)] : []));
    const time = el("time", { datetime: event.at, title: `${instant(event.at)}, ${event.kind}` }, span(seconds(event.now, event.at)));
    return el("li", {}, time, el("span", { class: `level ${/^(warn|error)$/.test(event.level) ? event.level : ""}` }, event.level), what);
  });
  $("events").replaceChildren(...items);
}

// --------------------------------------------------------------------------------------------------------------------- first steps

const FIRST_TABLE = `CREATE TABLE events (
  id BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL, name VARCHAR, PRIMARY KEY (id)
) WITH (time_column = 'at')`;

function steps(grpc) {
  const isOn = session.access === "on";
  const own = location.origin;
  const inOneLine = FIRST_TABLE.replace(/\(\n\s*/, "(").replace(/\n\)/, ")");
  const user = isOn ? ` --user ${shellWord(session.user)}` : "";
  const cli = `tidewater --server ${grpc}${user}`;
  const curl = `curl ${own}/api/v1/sql${isOn ? ` -u ${shellWord(session.user)}` : ""} -H 'Content-Type: application/json'`;
  const bodyOf = (sql, params) => JSON.stringify(params ? { sql, params } : { sql }).replaceAll("'", "'\\''");
  const scheme = location.protocol === "https:" ? "grpc+tls" : "grpc";
  const login = isOn ? `,\n                  db_kwargs={"username": ${JSON.stringify(session.user)}, "password": getpass.getpass()}` : "";
  return {
    "Command line": [
      ["Make a table. Rows with a key that is there already are duplicates, and dropped.", `${cli} sql -c "${inOneLine}"`],
      ["Put a row in, and see it.", `${cli} sql -c "INSERT INTO events VALUES (1, now(), 'first')"\n${cli} sql -c "SELECT * FROM events"`],
      ["Or load a file: its columns become the table's.", `${cli} ingest my_table FILE.parquet --create --key COLUMN --time COLUMN`],
    ],
    curl: [
      ["Make a table.", `${curl} \\\n  -d '${bodyOf(inOneLine)}'`],
      ["Put a row in, and see it.", `${curl} \\\n  -d '${bodyOf("INSERT INTO events VALUES ($1, now(), $2)", [1, "first"])}'\n${curl} \\\n  -d '${bodyOf("SELECT * FROM events")}'`],
    ],
    Python: [
      ["The driver of ADBC speaks Flight SQL.", "pip install adbc-driver-flightsql adbc-driver-manager pyarrow"],
      [
        "Make a table, put a row in, and see it.",
        `${isOn ? "import getpass\n" : ""}import adbc_driver_flightsql.dbapi as dbapi\n\nwith dbapi.connect("${scheme}://${grpc}", autocommit=True${login}) as connection:\n` +
          `    with connection.cursor() as cursor:\n        cursor.execute("${inOneLine}")\n        cursor.execute("INSERT INTO events VALUES (1, now(), 'first')")\n` +
          `        cursor.execute("SELECT * FROM events")\n        print(cursor.fetch_arrow_table().to_pylist())`,
      ],
    ],
    "This page": [
      ["Make a table with the query box below.", FIRST_TABLE, true],
      ["Put a row in.", "INSERT INTO events VALUES (1, now(), 'first')", true],
    ],
  };
}

const shellWord = (text) => (/^[\w.@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

let hasFirstSteps = false;

async function showFirstSteps() {
  if (hasFirstSteps) return;
  hasFirstSteps = true;
  // The port of gRPC is an admin's to see; to others the usual one is shown.
  let port = "8815";
  try {
    const [setting] = session.admin ? await rows(`${OWN}SELECT value FROM system.settings WHERE name = 'server.grpc'`) : [];
    port = setting?.value.split(":").at(-1) || port;
  } catch {
    // The usual port will do.
  }
  if (!session) return;
  const all = steps(`${location.hostname}:${port}`);
  const tabs = Object.keys(all).map((name, at) =>
    el("button", { type: "button", role: "tab", id: `step-tab-${at}`, "aria-controls": "step-panel", onclick: () => chooseStep(tabs, all, at) }, name));
  $("step-tabs").replaceChildren(...tabs);
  $("step-tabs").onkeydown = (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const next = (tabs.indexOf(document.activeElement) + move + tabs.length) % tabs.length;
    chooseStep(tabs, all, next);
    tabs[next].focus();
  };
  chooseStep(tabs, all, 0);
}

function chooseStep(tabs, all, chosen) {
  tabs.forEach((tab, at) => {
    tab.setAttribute("aria-selected", String(at === chosen));
    tab.tabIndex = at === chosen ? 0 : -1;
  });
  $("step-panel").setAttribute("aria-labelledby", tabs[chosen].id);
  const items = Object.values(all)[chosen].map(([what, text, isSql]) => {
    const button = isSql
      ? el("button", { type: "button", onclick: () => putSql(text) }, "To the box")
      : el("button", { type: "button", onclick: (event) => copy(event.currentTarget, text) }, "Copy");
    return el("div", { class: "step" }, el("p", {}, what), el("div", { class: "copy" }, el("pre", { tabindex: "0" }, text), button));
  });
  $("step-panel").replaceChildren(...items);
}

async function copy(button, text) {
  let isCopied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without TLS on another machine's address may not write there: the text is marked instead.
    getSelection().selectAllChildren(button.previousSibling);
    isCopied = false;
  }
  setText(button, isCopied ? "Copied" : "Ctrl-C copies");
  setTimeout(() => setText(button, "Copy"), 2_000);
}

// --------------------------------------------------------------------------------------------------------------------------- start

function onKey(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target === $("sql")) {
    event.preventDefault();
    run();
  } else if (event.key === "Escape" && running && !$("drawer").open) {
    event.preventDefault();
    cancel();
  }
}

setText($("where"), location.host);
readAddress();
$("sql").value = place.sql;
grow();
startTables();
$("sign-in-form").addEventListener("submit", signIn);
$("other-way").addEventListener("click", otherWay);
$("sign-out").addEventListener("click", signOut);
$("run").addEventListener("click", run);
$("cancel").addEventListener("click", cancel);
$("sql").addEventListener("input", grow);
$("example-table").addEventListener("change", showExamples);
$("tables-sql").addEventListener("click", () => putSql("SELECT * FROM system.tables ORDER BY schema, name"));
$("events-sql").addEventListener("click", () => putSql("SELECT * FROM system.events ORDER BY at DESC LIMIT 100"));
for (const button of $("downloads").querySelectorAll("button")) button.addEventListener("click", () => download(button.dataset.format));
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("sql").focus();
});
$("drawer-close").addEventListener("click", () => $("drawer").close());
$("drawer").addEventListener("click", (event) => event.target === $("drawer") && $("drawer").close());
$("drawer").addEventListener("close", () => {
  // By Escape or the button: then the table is not in the address any more.
  if (open) setAddress({ table: null }, { isStep: true });
  open = null;
});
addEventListener("keydown", onKey);
addEventListener("hashchange", () => {
  const before = place.sql;
  readAddress();
  if (place.sql !== before && !running) $("sql").value = place.sql;
  if (session && now) {
    showTables();
    showOpenTable();
  }
});
document.addEventListener("visibilitychange", poll);
start();
