//! Who was here before? InitProducer, a new epoch that fences older clients; where a producer stopped; what a key was answered.

use tokio::sync::oneshot;

use crate::error::{Code, Error, Result};
use crate::ids::ProducerId;
use crate::limits::MAX_PRODUCERS;
use crate::log::ProducerEpoch;
use crate::producers::{ProducerState, next_epoch};
use crate::table::commit;
use crate::table::gate::Write;
use crate::table::request::ProducerInfo;
use crate::table::worker::group::{Answer, Publish};
use crate::table::worker::task::{Prepared, Worker};

impl Worker {
    /// One entry of its own: batches of the old epoch that wait behind it are fenced.
    pub(crate) fn on_init_producer(
        &mut self,
        id: ProducerId,
        reset: bool,
        principal: &str,
        answer: oneshot::Sender<Result<ProducerInfo>>,
    ) -> Prepared {
        let known = self.state.producers.get(&id);
        let refused = match known {
            Some(state) if state.principal != principal => Some(
                Error::new(Code::ProducerOwned, format!("producer {id} belongs to another principal"))
                    .hint("choose another producer id"),
            ),
            None if self.state.producers.len() >= MAX_PRODUCERS => Some(
                Error::new(
                    Code::TooManyProducers,
                    format!("table {} remembers {MAX_PRODUCERS} producers", self.state.def.name),
                )
                .hint("reuse producer ids: one for each long-lived client"),
            ),
            _ => self.shared.gate.check_space(Write::Small).err(),
        };
        if let Some(refused) = refused {
            return Prepared::answer(Answer::Producer(answer, Err(refused)));
        }
        let was_known = known.is_some();
        let epoch = next_epoch(known);
        let place = self.next_place();
        let state = self.state.producers.entry(id.clone()).or_insert_with(|| ProducerState::new(principal));
        state.begin_epoch(epoch, reset);
        state.see(place.at);
        let state = state.clone();
        let info = ProducerInfo { epoch, last_sequence: state.last_sequence, known: was_known };
        let entry = ProducerEpoch { producer: id.to_string(), epoch, reset };
        Prepared {
            seq: place.seq,
            commit: Some(commit::producer_epoch(place, entry, self.state.producer_op(&id, &state))),
            publish: Publish::Nothing,
            stamp_us: place.at.wall_us,
            answers: vec![Answer::Producer(answer, Ok(info))],
        }
    }

    /// Changes nothing; the answer still waits until what it says is durable.
    pub(crate) fn on_look_up_key(&self, suffix: &[u8], answer: oneshot::Sender<Option<u64>>) -> Prepared {
        let accepted = self.state.idempotency.get(suffix).map(|first| first.accepted);
        Prepared::answer(Answer::Accepted(answer, accepted))
    }

    /// Changes nothing; the answer still waits until what it says is durable.
    pub(crate) fn on_look_up_producer(
        &self,
        id: &ProducerId,
        answer: oneshot::Sender<Result<ProducerInfo>>,
    ) -> Prepared {
        let info = match self.state.producers.get(id) {
            Some(state) => ProducerInfo { epoch: state.epoch, last_sequence: state.last_sequence, known: true },
            None => ProducerInfo { epoch: 0, last_sequence: 0, known: false },
        };
        Prepared::answer(Answer::Producer(answer, Ok(info)))
    }
}
