//! Ends trees of processes: TERM, a grace, then KILL until nobody is left.

use std::time::Duration;

use rustix::process::{Pid, test_kill_process_group};
use tokio::time::{Instant, sleep};

use super::tree::{Census, Leader, Tree};

/// First pause between two looks; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(2);

/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Sweeps with KILL before giving up: with the pauses some ten seconds. What survives that sleeps in the kernel.
const KILL_SWEEPS_MAX: u32 = 200;

/// Grace for what an attempt leaves in its process group when it ends by itself.
const LEFTOVER_GRACE: Duration = Duration::from_millis(500);

/// Ends a whole tree. Returns how many processes could not be killed.
pub(super) async fn end(mut tree: Tree, grace: Duration) -> usize {
    if !grace.is_zero() {
        let deadline = Instant::now() + grace;
        let mut alive;
        (tree, alive) = sweep(tree, Tree::terminate).await;
        while alive > 0 {
            wait_for_end(&tree, deadline).await;
            if Instant::now() >= deadline {
                break;
            }
            (tree, alive) = sweep(tree, Tree::terminate).await;
        }
        if alive == 0 {
            return 0;
        }
    }
    kill(tree).await
}

/// Kills a whole tree at once. Returns how many processes could not be killed.
pub(super) async fn kill(mut tree: Tree) -> usize {
    let mut alive = 0;
    for _ in 0..KILL_SWEEPS_MAX {
        (tree, alive) = sweep(tree, Tree::kill).await;
        if alive == 0 {
            break;
        }
        wait_for_end(&tree, Instant::now() + PAUSE_MAX).await;
    }
    alive
}

/// After the first process of an attempt is reaped: ends what is left in its process group, and counts what has left the
/// group. Without a group (it was empty at that moment) it only counts: the number may be another group's by now.
pub(super) async fn leftovers(group: Option<Pid>, marker: &str) -> usize {
    let leader = group.map(Leader::reaped).into_iter().collect();
    let (mut tree, Census { inside, outside }) = sweep(Tree::new(leader, [marker.to_owned()]), Tree::census).await;
    let Some(group) = group.filter(|_| inside > 0) else {
        return outside;
    };
    tree.narrow();
    // They may be about to end: a `tee` that has lost its writer, for example.
    wait_for_end_of_group(group, PAUSE_MAX).await;
    outside + end(tree, LEFTOVER_GRACE).await
}

/// Whether a process group has members; ended ones count until they are reaped.
pub(super) fn has_members(group: Pid) -> bool {
    test_kill_process_group(group).is_ok()
}

async fn wait_for_end_of_group(group: Pid, max: Duration) {
    let deadline = Instant::now() + max;
    while has_members(group) && Instant::now() < deadline {
        sleep(PAUSE_MIN).await;
    }
}

/// Waits until the members that are known are gone, or until the deadline.
async fn wait_for_end(tree: &Tree, deadline: Instant) {
    let mut pause = PAUSE_MIN;
    while tree.is_known_alive() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        sleep(pause.min(left)).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Reads `/proc` on a thread where that may take its time.
async fn sweep<T: Send + 'static>(mut tree: Tree, look: impl FnOnce(&mut Tree) -> T + Send + 'static) -> (Tree, T) {
    let swept = tokio::task::spawn_blocking(move || {
        let found = look(&mut tree);
        (tree, found)
    });
    match swept.await {
        Ok(swept) => swept,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being taken down, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
