//! Which settings are there? Every one in the list works; there is no other.

/// A setting: its name as in the file and in `system.settings`, its default as text, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    pub doc: &'static str,
}

/// All settings, in the order of documentation.
pub const SETTINGS: &[Setting] = &[
    Setting { name: "server.data", default: "./tidewater-data", doc: "Folder of all data; made if it does not exist." },
    Setting {
        name: "server.grpc",
        default: "127.0.0.1:8815",
        doc: "Address of Flight SQL and gRPC. Port 0 takes a free one.",
    },
    Setting { name: "server.http", default: "127.0.0.1:8080", doc: "Address of HTTP. Port 0 takes a free one." },
    Setting {
        name: "server.allowed_hosts",
        default: "auto",
        doc: "Host names that HTTP requests may use, with commas between them; auto: localhost while HTTP listens on loopback, else every name.",
    },
    Setting {
        name: "tls.cert",
        default: "off",
        doc: "PEM file of the server's certificate and those that lead to its root, for both ports; read again when it changes. off: no TLS.",
    },
    Setting { name: "tls.key", default: "off", doc: "PEM file of the certificate's private key." },
    Setting {
        name: "tls.client_ca",
        default: "off",
        doc: "PEM file of the authorities whose client certificates both ports take; on the gRPC port the common name of one is a user who needs no password. off: no certificate is asked for. Read again when it changes.",
    },
    Setting {
        name: "tls.client_auth",
        default: "optional",
        doc: "required: who shows no certificate of tls.client_ca cannot connect; optional: passwords and tokens do as well.",
    },
    Setting {
        name: "tls.behind_proxy",
        default: "false",
        doc: "true: a proxy in front speaks TLS with clients, so the server may listen beyond loopback without.",
    },
    Setting {
        name: "limits.requests_per_second",
        default: "0",
        doc: "Requests and batches a second of each user or token that has no limit of its own; 0: no limit.",
    },
    Setting {
        name: "limits.bytes_per_second",
        default: "0",
        doc: "Bytes of rows a second, as sent, of each user or token that has no limit of its own; 0: no limit.",
    },
    Setting {
        name: "limits.concurrent_queries",
        default: "0",
        doc: "Statements at once of each user or token that has no limit of its own; 0: no limit.",
    },
    Setting {
        name: "storage.min_free",
        default: "1 GiB",
        doc: "Free disk space below which rows are refused, so that what is acknowledged can always be kept; at least 512 MiB. Definitions go on until 384 MiB, DROP and TRUNCATE until 256 MiB.",
    },
    Setting {
        name: "storage.url",
        default: "local",
        doc: "Where Delta tables are kept: file:///folder or s3://bucket/prefix; local: the folder tables of server.data. Credentials for S3 come from the environment (AWS_ACCESS_KEY_ID and so on).",
    },
    Setting {
        name: "storage.endpoint",
        default: "auto",
        doc: "URL of a store that speaks S3, such as http://127.0.0.1:9000; auto: the environment's (AWS_ENDPOINT_URL), or Amazon's.",
    },
    Setting {
        name: "storage.region",
        default: "auto",
        doc: "Region of the bucket; auto: the environment's (AWS_REGION), or us-east-1.",
    },
    Setting {
        name: "storage.max_unpublished",
        default: "64 GiB",
        doc: "Files that are built and not in their Delta table yet, of all tables: rows are refused beyond. Only a store that is away, or too slow, lets them grow.",
    },
    Setting {
        name: "storage.accept_data_loss",
        default: "false",
        doc: "true: a table whose data folder is an older copy, behind its own Delta table, is begun anew with what that has; false: such a table is refused. For one start: --accept-data-loss.",
    },
    Setting {
        name: "scrub.rate",
        default: "32 MiB",
        doc: "Bytes a second at which all files are read again and again to find those that the disk changed, below everything else; off: only what a query stumbles over is tested.",
    },
    Setting {
        name: "scrub.interval",
        default: "7 days",
        doc: "A file on the local disk is tested so long after it was last tested, and soon after each start; off: after a start only.",
    },
    Setting {
        name: "scrub.remote_interval",
        default: "off",
        doc: "A file in a store elsewhere is fetched and tested once in such a time; off: never, such stores test their own bytes.",
    },
    Setting {
        name: "memory.limit",
        default: "60%",
        doc: "Memory of the process: bytes ('2 GiB') or a part of the machine or container ('60%'); at least 512 MiB.",
    },
    Setting {
        name: "dedup.memory",
        default: "auto",
        doc: "Memory for primary keys: bytes or a part of memory.limit; auto: about a quarter. More of it is less for fresh rows.",
    },
    Setting {
        name: "dedup.disk",
        default: "20%",
        doc: "Disk for primary keys that memory does not hold, of all tables: bytes or a part of the disk. Past both rows are refused.",
    },
    Setting {
        name: "query.threads",
        default: "auto",
        doc: "Threads that one query may use; auto: one a core. All queries over tables have at most 256.",
    },
    Setting { name: "query.max_running", default: "auto", doc: "Queries that run at once; auto: two a core." },
    Setting { name: "query.max_waiting", default: "64", doc: "Queries that wait for their turn; more are refused." },
    Setting {
        name: "query.spill",
        default: "10%",
        doc: "Disk for what queries cannot hold in memory: bytes or a part of the disk. They stop above storage.min_free.",
    },
    Setting {
        name: "log.level",
        default: "info",
        doc: "error, warn, info, debug or trace, also by module: 'info,tidewater_storage=debug'.",
    },
    Setting {
        name: "log.format",
        default: "auto",
        doc: "text or json, one line an event, to standard error; auto: text on a terminal, else json. Colours on a terminal only, and not with NO_COLOR.",
    },
    Setting {
        name: "log.slow_query",
        default: "1 second",
        doc: "A statement that took so long, from its arrival to its end, is logged as a warning, without the values that stand in it; 0: all are; off: none.",
    },
    Setting {
        name: "auth",
        default: "off",
        doc: "on: callers prove who they are, with a password or a token; off: every caller is admin, and the server listens on loopback only.",
    },
];
