//! What does a store say whose folder is not there? That, to each request: nothing is made in its place.

use std::fmt;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

/// A local folder that was not there when the store was opened. What was asked is neither done nor known to be undone.
#[derive(Debug, Clone)]
pub(super) struct AwayStore {
    pub(super) root: Url,
}

impl fmt::Display for AwayStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwayStore({})", self.root)
    }
}

impl AwayStore {
    /// Never that an object is not found: it may be.
    fn away(&self) -> Error {
        let why = format!(
            "the folder {} was not there when the server started: check that its file system is mounted, and start the server again",
            self.root
        );
        Error::Generic { store: "AwayStore", source: why.into() }
    }
}

#[async_trait]
impl ObjectStore for AwayStore {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(self.away())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(self.away())
    }

    async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult> {
        Err(self.away())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations.map(move |location| location.and_then(|_| Err(store.away()))).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        futures::stream::iter([Err(self.away())]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(self.away())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(self.away())
    }
}
