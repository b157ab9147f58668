//! A server that is killed, and started again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rr_model::{Fault, Model};
use rr_tests::{TestMesh, eventually};

use super::{PATIENCE, Play};

/// A server that can be killed.
pub(crate) enum Mortal {
    Real(Mutex<Option<Box<TestMesh>>>),
    Model(Model),
}

impl Mortal {
    /// Kills it, and starts it again.
    async fn restart(&self) {
        match self {
            Self::Real(mesh) => {
                let taken = mesh.lock().unwrap_or_else(PoisonError::into_inner).take();
                let mut taken = taken.unwrap_or_else(|| panic!("it is being killed"));
                taken.server().kill().await.unwrap();
                taken.server().restart().await.unwrap();
                *mesh.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
            }
            Self::Model(model) => {
                model.inject(&Fault::Restart { down: Duration::from_millis(100), loses_unsynced: false });
            }
        }
    }
}

impl Play<'_> {
    pub(super) async fn restart(&self) {
        let before = self.player.transport.generation();
        self.player.mortal.as_ref().unwrap_or_else(|| panic!("nobody can be killed here")).restart().await;
        eventually("connection", PATIENCE, async || match self.player.transport.generation() {
            generation if generation > before => Ok(()),
            generation => Err(generation),
        })
        .await;
    }
}
