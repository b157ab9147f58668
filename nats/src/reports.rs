//! What workers say: reports and claims.

use rr_schemas::{
    codec::{Envelope, JSON},
    id::{EntityId, RunId},
    input::{Holder, Input},
    name::WorkerName,
    report::{Claim, Report},
};

use crate::{
    direct::{Which, read_leader},
    error::{Error, PublishError},
    input::from_worker,
    link::{expecting, typed},
    mesh::Mesh,
    subject::{self, InputSubject},
};

/// Why a claim is not won.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ClaimError {
    /// Somebody else holds it.
    #[error("the claim is lost to another one")]
    Lost,
    /// It could not be published; it was not stored, or nobody knows.
    #[error(transparent)]
    Publish(PublishError),
    /// Who holds it cannot be read back: nobody knows. Ask again, or drop the attempt.
    #[error(transparent)]
    Read(Error),
}

impl Mesh {
    /// Reports on an attempt. Returns once it is stored.
    ///
    /// # Errors
    /// [`PublishError`]; a report may be stored twice without harm.
    pub async fn report(&self, worker: &WorkerName, run: &RunId, report: &Report) -> Result<u64, PublishError> {
        let entity = EntityId::from(run);
        let subject = subject::report(self.partition_of(&entity), &entity, worker);
        let input = Input::Report(report.clone());
        self.put(subject, typed(JSON), &from_worker(worker), &entity, &input).await
    }

    /// Claims an attempt. Won when it returns: the sequence grows with each claim of the mesh and fences writes.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when somebody else holds it; else nobody knows, and asking again is safe.
    pub async fn claim(&self, run: &RunId, claim: &Claim) -> Result<u64, ClaimError> {
        let entity = EntityId::from(run);
        let partition = self.partition_of(&entity);
        let Claim { task, attempt, worker, instance } = claim;
        let subject = subject::claim(partition, &entity, *task, *attempt, worker);
        let mut headers = typed(JSON);
        expecting(&mut headers, 0, Some(&subject::claims(partition, &entity, *task, *attempt)));
        let input = Input::Claim(claim.clone());
        match self.put(subject, headers, &from_worker(worker), &entity, &input).await {
            Ok(seq) => return Ok(seq),
            // Either may be our own claim, stored by a publish whose answer was lost.
            Err(PublishError::Conflict | PublishError::Unknown(_)) => {}
            Err(error) => return Err(ClaimError::Publish(error)),
        }
        let own = Holder { worker: worker.clone(), instance: instance.clone() };
        match self.claim_holder(run, *task, *attempt).await {
            Ok(Some((holder, seq))) if holder == own => Ok(seq),
            Ok(None) => Err(ClaimError::Publish(PublishError::Unknown("no claim is stored yet".to_owned()))),
            // One that cannot be read is not ours.
            Ok(Some(_)) | Err(Error::Answer(_)) => Err(ClaimError::Lost),
            Err(error) => Err(ClaimError::Read(error)),
        }
    }

    /// Who holds the claim of an attempt, and its sequence, as the leader knows it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim_holder(&self, run: &RunId, task: u32, attempt: u32) -> Result<Option<(Holder, u64)>, Error> {
        let entity = EntityId::from(run);
        let filter = subject::claims(self.partition_of(&entity), &entity, task, attempt);
        let which = Which::Next { seq: 1, next_by_subj: &filter };
        let Some(message) = read_leader(self.link(), subject::EVENTS, which).await? else { return Ok(None) };
        let unreadable = || Error::Answer(format!("{}: not a claim", message.subject));
        let source = InputSubject::parse(&message.subject).map(|parsed| parsed.source).ok_or_else(unreadable)?;
        let envelope = Envelope::<Input>::read(message.content_type(), &message.payload);
        match envelope.map(|envelope| envelope.body) {
            Ok(input @ Input::Claim(_)) if source.allows(&input) => match input {
                Input::Claim(Claim { worker, instance, .. }) => Ok(Some((Holder { worker, instance }, message.seq))),
                Input::Submit(_) | Input::Cancel(_) | Input::Report(_) | Input::Timer {} | Input::Seen(_) => {
                    Err(unreadable())
                }
            },
            Ok(_) | Err(_) => Err(unreadable()),
        }
    }
}
