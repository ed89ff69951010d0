//! How does a stream run to its end? The loops that submit and answer, and what is said last.

use std::sync::Arc;

use parking_lot::Mutex;
use tidewater_proto::ingest::v1::WriteStreamResponse;
use tidewater_proto::ingest::v1::write_stream_response::Msg;
use tidewater_query::Role;
use tidewater_storage::{Code, Error, PendingWrite, PreparedWrite, Result, RowsOutcome, SequenceMode};
use tokio::sync::mpsc;

use super::open::{Stream, open};
use super::order::{Order, Round};
use super::reader::{End, Place, Reader, Waiting};
use super::schema::Known;
use super::{Answers, GRACE, LOOK_AGAIN, MAX_INFLIGHT_BATCHES, Requests, STALLED};
use crate::App;
use crate::call::{Call, bounded, shutting_down};
use crate::ingest::answer;
use crate::status::to_status;

/// A batch that stands in the table's queue, or was refused before.
struct Submitted {
    batch_id: u64,
    sequence: u64,
    round: Round,
    outcome: Result<Outcome>,
    _place: Place,
}

/// What came of a batch that was submitted.
enum Outcome {
    Pending(PendingWrite),
    Known(Box<RowsOutcome>),
}

/// Serves one stream.
pub(super) async fn serve(app: Arc<App>, call: Call, (mut requests, place): Requests, answers: Answers) {
    let deadline = call.deadline;
    let ended = bounded(deadline, async {
        let Some((stream, opened)) = open(&app, &call, &mut requests).await? else { return Ok(()) };
        let known = Known::new(&stream.target.table, &opened);
        if answers.send(Ok(response(Msg::Opened(opened)))).await.is_err() {
            return Ok(());
        }
        batches(&app, &call, (&stream, &known), (requests, place), &answers).await
    });
    if let Err(error) = ended.await {
        // A client that is gone needs no last word.
        let _ = answers.send(Err(to_status(&error))).await;
    }
}

/// Reads, submits and answers batches until the stream ends; an error is its last word.
async fn batches(
    app: &Arc<App>,
    call: &Call,
    (stream, known): (&Stream, &Known<'_>),
    requests: Requests,
    answers: &Answers,
) -> Result<()> {
    let order = Mutex::new(Order::new(stream.target.numbering().is_some()));
    let (waiting, to_submit) = mpsc::channel(MAX_INFLIGHT_BATCHES);
    let (submitted, to_answer) = mpsc::channel(MAX_INFLIGHT_BATCHES);
    let reader = Reader::new(app, &call.limiter, stream, answers).run(requests, waiting);
    let submitting = submit(stream, &order, to_submit, submitted);
    let answering = answer(&order, known, to_answer, answers);
    let rest = async { tokio::join!(submitting, answering).1 };
    tokio::pin!(reader, rest);
    let end = tokio::select! {
        end = &mut reader => end,
        // Answering ended first: the client is gone, or the stream cannot go on.
        ended = &mut rest => return ended,
        // What has no answer may be stored: under the same numbers it is sent again without harm.
        error = look_after(app, call, (stream, known), answers) => return Err(error),
    };
    match end {
        End::Client => rest.await,
        End::Broken(error) => {
            rest.await?;
            Err(error)
        }
        End::Draining => {
            // What has no answer when the time is up is sent again by the client.
            if let Ok(ended) = tokio::time::timeout(GRACE, rest).await {
                ended?;
            }
            Err(shutting_down())
        }
    }
}

/// Returns when the caller may write into the table no more: streams go on for days, rights may be taken back at any time. Tells of a new
/// schema also while nothing is sent.
async fn look_after(app: &App, call: &Call, (stream, known): (&Stream, &Known<'_>), answers: &Answers) -> Error {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Err(error) = call.check_again(app, Role::Writer, &stream.target.table.def(), "write to") {
            return error;
        }
        // Who does not read has results to read first, which tell of it, too.
        let Ok(place) = answers.try_reserve() else { continue };
        match known.changed() {
            Ok(Some(changed)) => place.send(Ok(response(changed))),
            Ok(None) => {}
            Err(error) => return error,
        }
    }
}

/// Puts batches into the table's queue in the order in which they were read.
async fn submit(
    stream: &Stream,
    order: &Mutex<Order>,
    mut waiting: mpsc::Receiver<Waiting>,
    submitted: mpsc::Sender<Submitted>,
) {
    // A batch of this stream was stored: from then on the table knows which number comes next.
    let mut begun = false;
    loop {
        let next = tokio::select! {
            // Answering ended, because the stream cannot go on.
            () = submitted.closed() => return,
            next = waiting.recv() => next,
        };
        let Some(Waiting { batch_id, sequence, prepared, place }) = next else { return };
        let admitted = order.lock().admit(sequence);
        let (round, outcome) = match admitted {
            Err(error) => (0, Err(error)),
            Ok(round) => match prepared.done().await {
                Ok(prepared) => {
                    let outcome = hand_over(stream, prepared, begun).await;
                    begun |= outcome.is_ok();
                    (round, outcome)
                }
                Err(error) => (round, Err(error)),
            },
        };
        let outcome = outcome.map_err(|error| order.lock().refuse(round, sequence, error));
        if submitted.send(Submitted { batch_id, sequence, round, outcome, _place: place }).await.is_err() {
            return;
        }
    }
}

/// A contiguous producer's batches follow one another into the queue: the table itself refuses what comes behind a refused one. With
/// gaps it cannot know, and neither can it before the first batch of a producer that may begin at any number: then each batch waits
/// for the outcome of the one before. So it does when it is known to be refused, unless it is a repeat.
async fn hand_over(stream: &Stream, prepared: PreparedWrite, begun: bool) -> Result<Outcome> {
    let waits = match stream.target.numbering() {
        Some(SequenceMode::Monotonic) => true,
        Some(SequenceMode::Contiguous) => !begun || prepared.is_refused(),
        None => false,
    };
    let pending = stream.target.table.submit(prepared).await?;
    match waits {
        true => pending.outcome().await.map(|outcome| Outcome::Known(Box::new(outcome))),
        false => Ok(Outcome::Pending(pending)),
    }
}

/// Answers batches in the order in which they were read. An error ends the stream.
async fn answer(
    order: &Mutex<Order>,
    known: &Known<'_>,
    mut submitted: mpsc::Receiver<Submitted>,
    answers: &Answers,
) -> Result<()> {
    while let Some(Submitted { batch_id, sequence, round, outcome, _place }) = submitted.recv().await {
        let outcome = match outcome {
            Ok(Outcome::Known(outcome)) => Ok(*outcome),
            Ok(Outcome::Pending(pending)) => {
                pending.outcome().await.map_err(|error| order.lock().refuse(round, sequence, error))
            }
            Err(error) => Err(error),
        };
        let (result, last) = match outcome {
            Ok(outcome) => (answer::stored(batch_id, sequence, outcome), None),
            Err(error) => (answer::refused(batch_id, sequence, &error), Some(error).filter(ends_stream)),
        };
        for msg in known.changed()?.into_iter().chain([Msg::Result(result)]) {
            if send(answers, msg).await.is_err() {
                return Ok(());
            }
        }
        if let Some(error) = last {
            return Err(error);
        }
    }
    Ok(())
}

/// No later batch of the stream can be taken.
fn ends_stream(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::ProducerFenced
            | Code::ProducerOwned
            | Code::TableClosed
            | Code::LogBehind
            | Code::DeltaConflict
            | Code::LogUnavailable
            | Code::ShuttingDown
    )
}

fn response(msg: Msg) -> WriteStreamResponse {
    WriteStreamResponse { msg: Some(msg) }
}

/// Sends an answer. `Err` when the client is gone, or does not read its answers.
async fn send(answers: &Answers, msg: Msg) -> std::result::Result<(), ()> {
    match tokio::time::timeout(STALLED, answers.send(Ok(response(msg)))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(()),
    }
}
