//! What outlives the process of a session? Its settings, in the data folder: durable before a client hears that they hold.
//!
//! A client may show the same bearer for ever. If its session were forgotten, its statements would mean something else, and it would not know.

use std::sync::Arc;

use tidewater_query::{Session, SessionSettings};
use tidewater_storage::{AccountChange, Accounts, Engine, Error, Result, StoredSession};

use crate::App;
use crate::auth::SessionId;

/// Settings by name, with their values; `None`: reset.
pub(super) type Changed = Vec<(&'static str, Option<String>)>;

/// The session has these settings from now on; one that is not open begins with those of `session`. Nothing is changed if this fails:
/// `HANDLE_NOT_FOUND` for one that has ended, `MEMORY_PRESSURE`, `TOO_MANY_ACCOUNTS`, `DISK_FULL`.
pub(super) async fn keep(app: &App, owner: &str, id: SessionId, session: &Session, changed: Changed) -> Result<()> {
    let is_open = app.kept.sessions.get(id, owner).is_some();
    if is_open && app.storage.session(id.0).is_some_and(|stored| is_as_stored(&stored, &changed)) {
        return Ok(());
    }
    let (storage, kept) = (Arc::clone(&app.storage), Arc::clone(&app.kept));
    let (owner, settings) = (owner.to_owned(), Arc::clone(&session.settings));
    // To its end, also if the caller goes away: memory has what the folder has.
    let keeping = tokio::spawn(async move {
        let open = kept.sessions.begin(id, &owner, &settings)?;
        let begun = open.lock().clone();
        let outcome = put(&storage, id, &owner, begun, changed).await;
        let settled = kept.sessions.settle(id, &owner, || storage.session(id.0));
        outcome.and(settled)
    });
    keeping.await.unwrap_or_else(|_| Err(Error::internal("a change of a session ended early")))
}

/// Whether nothing would be another: some clients set the same before every statement, which need not wait for the disk.
fn is_as_stored(stored: &StoredSession, changed: &[(&'static str, Option<String>)]) -> bool {
    let with_changes = || -> Result<_> {
        let mut settings = SessionSettings::from_stored(&stored.settings)?;
        changed.iter().try_for_each(|(name, value)| settings.restore(name, value.as_deref()))?;
        Ok(settings.to_stored())
    };
    with_changes().is_ok_and(|settings| settings == stored.settings)
}

/// Changes are made to what is stored, one after the other.
async fn put(
    storage: &Arc<Engine>,
    id: SessionId,
    owner: &str,
    begun: SessionSettings,
    changed: Changed,
) -> Result<()> {
    let (user, changed_at_us) = (owner.to_owned(), storage.env().clock.now_us());
    let decide = move |accounts: &Accounts| {
        let stored = accounts.session(id.0);
        if stored.is_some_and(|stored| stored.user != user) {
            return Err(Error::internal("two users have one session"));
        }
        let mut settings = stored.map_or(Ok(begun), |stored| SessionSettings::from_stored(&stored.settings))?;
        changed.iter().try_for_each(|(name, value)| settings.restore(name, value.as_deref()))?;
        Ok(AccountChange::PutSession(StoredSession { id: id.0, user, settings: settings.to_stored(), changed_at_us }))
    };
    storage.change_accounts(decide).await
}

/// Those of these sessions that are this user's end. `DISK_FULL`.
pub(super) async fn end(app: &App, owner: &str, ids: &[SessionId]) -> Result<()> {
    let is_own = |id: &&SessionId| app.storage.session(id.0).is_some_and(|stored| stored.user == owner);
    let own: Vec<_> = ids.iter().filter(is_own).map(|id| id.0).collect();
    if !own.is_empty() {
        app.storage.change_accounts(move |_| Ok(AccountChange::EndSessions(own))).await?;
    }
    ids.iter().for_each(|id| app.kept.sessions.end(*id, owner));
    Ok(())
}

/// Nothing needs to be known of these any more. What cannot be removed now is there at the next start, as a session that nobody uses.
pub(crate) async fn forget(storage: &Arc<Engine>, ids: Vec<SessionId>) {
    if ids.is_empty() {
        return;
    }
    let ids = ids.into_iter().map(|id| id.0).collect();
    if let Err(error) = storage.change_accounts(move |_| Ok(AccountChange::EndSessions(ids))).await {
        tracing::debug!(%error, "sessions that ended are still stored");
    }
}
