//! Where are Delta tables? Opens the store that a URL and options name, and checks that it keeps what commits rest on.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
use object_store::path::Path as StorePath;
use object_store::{
    BackoffConfig, ClientConfigKey, Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};
use url::Url;

use crate::env::{DurableLocalStore, Rng, SystemRng};
use crate::error::{Code, Error, Result};

/// Under the data folder, when no URL is given.
pub(super) const TABLES: &str = "tables";

/// A store that is not there answers none of its connects; one that hangs takes them and says nothing. Either is given up within some ten
/// seconds: the last attempt begins within [`RETRY_TIMEOUT`]. A request's time-out includes its body, so parts of uploads and ranges of
/// reads should be of a few MiB; for a slow network the options `connect_timeout` and `timeout` say more.
const CONNECT_TIMEOUT: &str = "3 seconds";
const REQUEST_TIMEOUT: &str = "10 seconds";
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_RETRIES: usize = 5;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// What every request for the credentials of a machine's role begins with.
const ROLE_PATH: &str = "/latest/api/token";

/// Settings that mean one thing together: when an option names one, none of its group is taken from the environment. A session token there
/// belongs to other keys, and object_store prefers `AWS_ENDPOINT_URL_S3` to the option `aws_endpoint`.
const GROUPS: [&[Key]; 3] = [
    &[
        Key::AccessKeyId,
        Key::SecretAccessKey,
        Key::Token,
        Key::WebIdentityTokenFile,
        Key::RoleArn,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
        Key::ContainerAuthorizationTokenFile,
        Key::SkipSignature,
    ],
    &[Key::Endpoint, Key::S3Endpoint],
    &[Key::Region, Key::DefaultRegion],
];

/// Where Delta tables are kept.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// `file:///folder` or `s3://bucket/prefix`; `None`: `tables/` under the data folder.
    pub url: Option<String>,
    /// For `s3://`: object_store's configuration keys, such as `aws_endpoint`, `aws_region`, `aws_access_key_id`. What they do not say is
    /// taken from the environment (`AWS_…`).
    pub options: Vec<(String, String)>,
}

impl std::fmt::Debug for StoreOptions {
    /// Without the values: secrets are among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.options.iter().map(|(key, _)| key.as_str()).collect();
        f.debug_struct("StoreOptions").field("url", &self.url).field("options", &keys).finish()
    }
}

impl StoreOptions {
    /// Whether a server could open the store, as far as that is known without asking it: the URL, its kind, the options. Nothing is made.
    pub fn check(&self) -> Result<()> {
        match self.place()? {
            Place::S3(text, url) => open_s3(text, &url, &self.options).map(drop),
            Place::Default => refuse_options(self),
            Place::Folder(folder, _) => refuse_options(self).and_then(|()| check_folder(&folder)),
        }
    }

    /// The folder of a store on the local disk that is not in the data folder.
    pub fn folder(&self) -> Result<Option<PathBuf>> {
        Ok(match self.place()? {
            Place::Folder(folder, _) => Some(folder),
            Place::Default | Place::S3(..) => None,
        })
    }

    /// Asks a store elsewhere: whether it answers, takes the credentials, and keeps what commits rest on. Puts an object there and removes
    /// it. `None`: there is no such store.
    pub async fn reach(&self) -> Result<Option<Url>> {
        let Place::S3(text, url) = self.place()? else { return Ok(None) };
        let tables = open_s3(text, &url, &self.options)?;
        check_conditional_put(&tables, &format!("{}.probe", SystemRng.uuid())).await?;
        Ok(Some(tables.root))
    }

    pub(super) fn place(&self) -> Result<Place<'_>> {
        let Some(text) = &self.url else { return Ok(Place::Default) };
        let url = Url::parse(text).map_err(|e| invalid_url(text, &e.to_string()))?;
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            // Not shown: a password may be in it.
            return Err(invalid_url(&format!("{}://…", url.scheme()), "it has more than a place and a path"));
        }
        match url.scheme() {
            "file" => {
                // `file:tables` would be read as `file:///tables`.
                let folder = url.to_file_path().ok().filter(|_| text.starts_with("file:///"));
                let folder = folder.ok_or_else(|| invalid_url(text, "it does not begin with file:///"))?;
                Ok(Place::Folder(folder, url))
            }
            "s3" => Ok(Place::S3(text, url)),
            other => Err(Error::new(Code::InvalidConfig, format!("the tables' store {text} is of the kind '{other}'"))
                .hint("supported are file:///folder and s3://bucket/prefix, with any store that speaks S3")),
        }
    }
}

/// What a URL names.
pub(super) enum Place<'o> {
    /// Nothing: `tables/` under the data folder.
    Default,
    Folder(PathBuf, Url),
    S3(&'o str, Url),
}

/// The store that Delta tables are in.
#[derive(Debug, Clone)]
pub struct TablesStore {
    pub store: Arc<dyn ObjectStore>,
    /// The URL of the place as Delta readers name it (`file:///folder/tables`, `s3://bucket/prefix`), without a slash at its end.
    pub root: Url,
    /// The same place within `store`.
    pub prefix: StorePath,
    /// The same as `store` if it is on the local disk: built files are linked in with it.
    pub local: Option<Arc<DurableLocalStore>>,
}

/// Opens the store without asking it anything; a local one may make its folder. Blocks. `local` is rooted at `data_dir`.
pub fn open_tables(data_dir: &Path, local: &Arc<DurableLocalStore>, options: &StoreOptions) -> Result<TablesStore> {
    match options.place()? {
        Place::Default => {
            refuse_options(options)?;
            let folder = std::fs::canonicalize(data_dir)
                .map_err(|e| {
                    let what = format!("the data folder {} is not there: {e}", data_dir.display());
                    Error::new(Code::FolderUnusable, what).source(e)
                })?
                .join(TABLES);
            let root = Url::from_file_path(&folder)
                .map_err(|()| Error::internal(format!("{} has no URL", folder.display())))?;
            Ok(local_tables(Arc::clone(local), root, StorePath::from(TABLES)))
        }
        Place::Folder(folder, url) => {
            refuse_options(options)?;
            check_folder(&folder)?;
            Ok(local_tables(Arc::new(local.beside(&folder)?), without_slash(&url), StorePath::default()))
        }
        Place::S3(text, url) => open_s3(text, &url, &options.options),
    }
}

fn local_tables(local: Arc<DurableLocalStore>, root: Url, prefix: StorePath) -> TablesStore {
    let store = Arc::clone(&local) as Arc<dyn ObjectStore>;
    TablesStore { store, root, prefix, local: Some(local) }
}

/// The bucket that an `s3://` URL names, and the prefix in it.
pub(super) fn bucket_of<'u>(text: &str, url: &'u Url) -> Result<(&'u str, StorePath)> {
    let bucket = url.host_str().filter(|host| !host.is_empty() && url.port().is_none());
    let bucket = bucket.ok_or_else(|| invalid_url(text, "it names no bucket"))?;
    let prefix = StorePath::from_url_path(url.path()).map_err(|e| invalid_url(text, &e.to_string()))?;
    Ok((bucket, prefix))
}

fn open_s3(text: &str, url: &Url, options: &[(String, String)]) -> Result<TablesStore> {
    let (bucket, prefix) = bucket_of(text, url)?;
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let backoff = BackoffConfig { init_backoff: FIRST_BACKOFF, max_backoff: MAX_BACKOFF, ..BackoffConfig::default() };
    let retry = RetryConfig { backoff, max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT };
    let store = s3_settings(options, environment)?
        .into_iter()
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value))
        .with_bucket_name(bucket)
        .with_retry(retry)
        .build()
        .map_err(|e| {
            Error::new(Code::InvalidConfig, format!("the tables' store {text} cannot be opened: {}", whole_text(&e)))
                .hint("check the store's options and the AWS_ variables of the environment")
                .source(e)
        })?;
    Ok(TablesStore { store: Arc::new(store), root: without_slash(url), prefix, local: None })
}

/// Our time-outs, over them the environment's `AWS_` variables, over them the options.
pub(in crate::sealed) fn s3_settings(
    options: &[(String, String)],
    environment: impl Iterator<Item = (String, String)>,
) -> Result<HashMap<Key, String>> {
    let mut named = HashMap::new();
    for (name, value) in options {
        let refused = |why: &str| {
            Error::new(Code::InvalidConfig, format!("the store option '{name}' {why}"))
                .hint("write keys as object_store does: aws_endpoint, aws_region, aws_access_key_id, …")
        };
        let key: Key = name.to_ascii_lowercase().parse().map_err(|_| refused("is unknown"))?;
        if key == Key::Bucket {
            return Err(refused("is not needed: the URL names the bucket"));
        }
        if named.insert(key, value.clone()).is_some() {
            return Err(refused("says again what another option says"));
        }
    }
    let mut settings: HashMap<Key, String> = HashMap::from([
        (Key::Client(ClientConfigKey::ConnectTimeout), CONNECT_TIMEOUT.to_owned()),
        (Key::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT.to_owned()),
    ]);
    for (name, value) in environment.filter(|(name, _)| name.starts_with("AWS_")) {
        // Those that mean nothing to object_store are other programs'.
        if let Ok(key) = name.to_ascii_lowercase().parse::<Key>() {
            settings.insert(key, value);
        }
    }
    for group in GROUPS.iter().filter(|group| group.iter().any(|key| named.contains_key(key))) {
        settings.retain(|key, _| !group.contains(key));
    }
    settings.extend(named);
    let endpoint = settings.get(&Key::S3Endpoint).or_else(|| settings.get(&Key::Endpoint));
    if let Some(endpoint) = endpoint {
        let url = Url::parse(endpoint).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        url.ok_or_else(|| {
            Error::new(Code::InvalidConfig, format!("the endpoint of the tables' store, '{endpoint}', is no URL"))
                .hint("write it with its scheme: https://host or http://host:port")
        })?;
    }
    if endpoint.is_some_and(|endpoint| endpoint.to_ascii_lowercase().starts_with("http://")) {
        settings.entry(Key::Client(ClientConfigKey::AllowHttp)).or_insert_with(|| "true".to_owned());
    }
    Ok(settings)
}

/// Refuses a store that overwrites what stands there when it is told to create: two commits of one version would both succeed, and the
/// rows of the first would be lost. `name` is of a probe that is put there twice and removed; nobody else may use it.
pub async fn check_conditional_put(tables: &TablesStore, name: &str) -> Result<()> {
    let probe = tables.prefix.clone().join(name);
    let put = |bytes: &'static str| {
        tables.store.put_opts(&probe, PutPayload::from_static(bytes.as_bytes()), PutMode::Create.into())
    };
    let unsuitable = |why: &str| {
        let what = format!("the tables' store {} {why}", tables.root);
        Error::new(Code::StoreUnsuitable, what).hint(
            "commits rest on conditional puts (S3: If-None-Match): use a store or a version of it that has them, \
             and leave AWS_CONDITIONAL_PUT out of the environment",
        )
    };
    let asked = format!("the tables' store {} cannot be checked", tables.root);
    match put("first").await {
        // Of a check whose reply was lost.
        Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
        Err(e @ (StoreError::NotImplemented { .. } | StoreError::NotSupported { .. })) => {
            return Err(unsuitable("has no conditional puts").source(e));
        }
        Err(e) => return Err(store_error(&asked, e)),
    }
    let second = match put("second").await {
        Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Ok(_) => Err(unsuitable("replaces an object that it was told to create")),
        Err(e @ (StoreError::NotImplemented { .. } | StoreError::NotSupported { .. })) => {
            Err(unsuitable("has no conditional puts").source(e))
        }
        Err(e) => Err(store_error(&asked, e)),
    };
    let removed = tables.store.delete(&probe).await;
    second?;
    match removed {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(e) => Err(store_error(&format!("the probe {probe} in the tables' store {} stays there", tables.root), e)),
    }
}

/// `what` failed, as a sentence without its end: "the file x cannot be uploaded".
pub fn store_error(what: &str, e: StoreError) -> Error {
    let text = whole_text(&e);
    let (code, hint) = match &e {
        e if is_full(e) => (Code::DiskFull, "free some space"),
        // Where no keys are given, those of the machine's role are asked for, which only machines in Amazon's cloud have.
        _ if text.contains(ROLE_PATH) => (
            Code::StoreUnavailable,
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the server's environment, \
             or give its machine a role",
        ),
        StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
            (Code::StoreUnsuitable, "use a store that has this operation")
        }
        StoreError::UnknownConfigurationKey { .. } => (Code::InvalidConfig, "check the store's options"),
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            (Code::StoreUnavailable, "check the store's credentials, and that they may read, write and delete")
        }
        _ => (Code::StoreUnavailable, "check that the store can be reached and that its URL and options are right"),
    };
    Error::new(code, format!("{what}: {text}")).hint(hint).source(e)
}

fn is_full(e: &StoreError) -> bool {
    causes(e).any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
}

/// Its own text and that of the innermost cause, which says what a person needs ("connection refused") and which HTTP clients leave out.
fn whole_text(e: &StoreError) -> String {
    let text = e.to_string();
    match causes(e).last().map(ToString::to_string) {
        Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
        _ => text,
    }
}

/// An error and what it came from, outermost first.
fn causes(e: &StoreError) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(e as &(dyn std::error::Error + 'static)), |&e| e.source())
}

fn without_slash(url: &Url) -> Url {
    let mut root = url.clone();
    root.set_path(url.path().trim_end_matches('/'));
    root
}

fn refuse_options(options: &StoreOptions) -> Result<()> {
    match options.options.first() {
        None => Ok(()),
        Some((key, _)) => {
            Err(Error::new(Code::InvalidConfig, format!("the store option '{key}' means nothing to a local folder"))
                .hint("store options are for s3://bucket/prefix"))
        }
    }
}

/// Refuses what can never be a folder, because a file is in its way. One that is not there yet is made.
fn check_folder(folder: &Path) -> Result<()> {
    match folder.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir()) {
        None => Ok(()),
        Some(file) => {
            let what = format!("the tables' store {} is no folder: {} is a file", folder.display(), file.display());
            Err(Error::new(Code::InvalidConfig, what).hint("name a folder, or one that can be made"))
        }
    }
}

fn invalid_url(text: &str, why: &str) -> Error {
    Error::new(Code::InvalidConfig, format!("the URL {text} of the tables' store cannot be used: {why}"))
        .hint("write file:///folder or s3://bucket/prefix")
}
