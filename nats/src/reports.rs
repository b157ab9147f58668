//! What workers say: reports and claims.

use rr_schemas::{
    id::{EntityId, RunId},
    input::{Holder, Input},
    name::WorkerName,
    report::{Claim, Report},
};

use crate::{
    direct::{Which, read_leader},
    error::{Error, PublishError},
    input::from_worker,
    link::expecting,
    mesh::Mesh,
    raw::RawMessage,
    subject::{self, InputSubject},
    transport::HeaderMap,
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
}

/// Whether this very process may have stored the same claim before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Earlier {
    /// It has not tried.
    None,
    /// It has tried, and nobody knows what became of it.
    Perhaps,
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
        self.put(subject, HeaderMap::new(), &from_worker(worker), &entity, &input).await
    }

    /// Claims an attempt. Won when it returns: the sequence grows with each claim of the mesh, as long as the log keeps its end.
    ///
    /// Needs no right to read: the log holds what others say.
    ///
    /// # Errors
    /// [`ClaimError::Lost`] when somebody else holds it; else nobody knows: ask again, and say that this was tried.
    pub async fn claim(&self, run: &RunId, claim: &Claim, earlier: Earlier) -> Result<u64, ClaimError> {
        let entity = EntityId::from(run);
        let partition = self.partition_of(&entity);
        let Claim { task, attempt, worker, .. } = claim;
        let subject = subject::claim(partition, &entity, *task, *attempt, &claim.holder());
        let mut headers = HeaderMap::new();
        expecting(&mut headers, 0, Some(&subject::claims(partition, &entity, *task, *attempt)));
        let input = Input::Claim(claim.clone());
        match (self.put(subject.clone(), headers, &from_worker(worker), &entity, &input).await, earlier) {
            (Ok(seq), _) => Ok(seq),
            (Err(PublishError::Conflict), Earlier::None) => Err(ClaimError::Lost),
            // It may be our own claim, stored by a try whose answer was lost: nobody else publishes on this subject.
            (Err(PublishError::Conflict), Earlier::Perhaps) => match self.link().last_on(subject, None).await {
                Ok(0) => Err(ClaimError::Lost),
                Ok(seq) => Ok(seq),
                Err(error) => Err(ClaimError::Publish(error)),
            },
            (Err(error), _) => Err(ClaimError::Publish(error)),
        }
    }

    /// Whether somebody holds the claim of an attempt: a worker, or a coordinator for nobody. Needs no right to read, only that of
    /// `asker` to claim.
    ///
    /// # Errors
    /// [`PublishError`]; nobody knows then.
    pub async fn is_claimed(&self, run: &RunId, task: u32, attempt: u32, asker: &Holder) -> Result<bool, PublishError> {
        let entity = EntityId::from(run);
        let partition = self.partition_of(&entity);
        let subject = subject::claim(partition, &entity, task, attempt, asker);
        let claims = subject::claims(partition, &entity, task, attempt);
        Ok(self.link().last_on(subject, Some(&claims)).await? > 0)
    }

    /// The claim of an attempt, as the leader knows it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn claim_of(&self, run: &RunId, task: u32, attempt: u32) -> Result<Option<StoredClaim>, Error> {
        let entity = EntityId::from(run);
        let filter = subject::claims(self.partition_of(&entity), &entity, task, attempt);
        let which = Which::Next { seq: 1, next_by_subj: &filter };
        let found = read_leader(self.link(), subject::EVENTS, which).await?;
        Ok(found.map(|message| StoredClaim { holder: claimant(&message), seq: message.seq }))
    }
}

/// The claim of an attempt: there is one at most.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredClaim {
    /// Who holds it; none where the message is no claim that can be believed.
    pub holder: Option<Holder>,
    /// Its sequence in the log.
    pub seq: u64,
}

fn claimant(message: &RawMessage) -> Option<Holder> {
    let source = InputSubject::parse(&message.subject)?.source;
    let envelope = message.envelope::<Input>().ok()?;
    match envelope.body {
        Input::Claim(claim) if source.allows(&Input::Claim(claim.clone())) => Some(claim.holder()),
        Input::Claim(_)
        | Input::Submit(_)
        | Input::Cancel(_)
        | Input::Signal(_)
        | Input::Report(_)
        | Input::Timer {}
        | Input::Seen(_) => None,
    }
}
