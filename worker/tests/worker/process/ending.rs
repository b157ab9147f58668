//! Timeout, cancel, and what an attempt leaves.

use rr_worker::process::Outcome;

use super::*;

/// Runs until a line `ready` is written, then cancels.
async fn run_and_cancel(spec: &Spec) -> Ended {
    struct Ready(CancellationToken);
    impl Sink for Ready {
        async fn chunk(&mut self, chunk: Chunk) {
            if chunk.bytes.starts_with(b"ready") {
                self.0.cancel();
            }
        }
    }
    let cancel = CancellationToken::new();
    // What is ended by the clock shares a session, what is cancelled has its own: both kinds go through all cases.
    Launcher { session: Session::Own, ..launcher() }.run(spec, &cancel, &mut Ready(cancel.clone())).await
}

#[tokio::test]
async fn timeout_and_cancel_end_the_whole_tree() {
    let stubborn = "trap '' TERM; echo ready; sleep 60; sleep 60";
    for (case, script, code, signal) in [
        ("plain", "echo ready; exec sleep 60", None, Some(15)),
        ("child", "sleep 60 & echo ready; wait", None, Some(15)),
        ("ends on TERM by itself", "trap 'exit 3' TERM; echo ready; sleep 60 & wait", Some(3), None),
        ("ignores TERM", stubborn, None, Some(9)),
        ("grandchild in its own session", "setsid sleep 60 & echo ready; wait", None, Some(15)),
        ("orphan in its own session", "(setsid sleep 60 &) ; echo ready; exec sleep 60", None, Some(15)),
        ("child without environment", "env -i setsid sleep 60 & echo ready; wait", None, Some(15)),
        (
            "forks without end",
            "trap '' TERM; setsid sh -c 'while :; do sleep 60 & sleep 0.01; done' & echo ready; wait",
            None,
            Some(9),
        ),
        ("stopped", "echo ready; kill -STOP $$; sleep 60", None, Some(15)),
        ("writes without end", "echo ready; exec yes", None, Some(15)),
    ] {
        let number = number();
        let mut spec = shell(&script.replace("60", &number));
        spec.grace = Duration::from_millis(300);
        let ended = run_and_cancel(&spec).await;
        assert!(matches!(ended.outcome, Outcome::Cancelled), "{case}: {ended:?}");
        assert_eq!((ended.exit_code, ended.signal, ended.left_behind), (code, signal, 0), "{case}");
        assert_eq!(marked(&spec.marker), Vec::<String>::new(), "{case}");
        assert_eq!(told_by(&number), [], "{case}");

        spec.timeout = Some(Duration::from_millis(200));
        let (ended, _) = run(&spec).await;
        assert!(matches!(ended.outcome, Outcome::TimedOut), "{case}: {ended:?}");
        assert_eq!((ended.exit_code, ended.signal, ended.left_behind), (code, signal, 0), "{case}");
        assert_eq!(marked(&spec.marker), Vec::<String>::new(), "{case}");
        assert_eq!(told_by(&number), [], "{case}");
        assert!(ended.elapsed >= Duration::from_millis(200), "{case}");
    }
}

#[tokio::test]
async fn kill_comes_when_the_grace_is_over_and_not_before() {
    let mut spec = shell("trap '' TERM; sleep 60");
    spec.timeout = Some(Duration::from_millis(100));
    spec.grace = Duration::from_secs(1);
    let (ended, _) = run(&spec).await;
    assert_eq!(ended.signal, Some(9));
    let took = ended.elapsed;
    assert!(took >= Duration::from_millis(1100) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn what_is_printed_on_term_is_kept() {
    let mut spec = shell("trap 'echo bye; exit 0' TERM; sleep 60 & wait");
    spec.timeout = Some(Duration::from_millis(200));
    let (ended, kept) = run(&spec).await;
    assert_eq!((ended.exit_code, kept.stdout().as_str()), (Some(0), "bye\n"));
}

#[tokio::test]
async fn what_was_cancelled_before_is_not_started() {
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = launcher().run(&argv(&["/no/such/program"]), &cancel, &mut Kept::default()).await;
    assert!(matches!(ended.outcome, Outcome::Cancelled), "{ended:?}");
    assert_eq!(ended.elapsed, Duration::ZERO);
}

#[tokio::test]
async fn an_attempt_that_ends_takes_its_process_group_along() {
    for script in
        ["sleep 60 & exit 0", "sleep 60 >/dev/null 2>&1 & exit 0", "(trap '' TERM; sleep 60; sleep 60) & exit 0"]
    {
        let spec = shell(script);
        let (ended, _) = run(&spec).await;
        assert!(matches!(ended.outcome, Outcome::Exited), "{script}: {ended:?}");
        assert_eq!((ended.exit_code, ended.left_behind), (Some(0), 0), "{script}");
        assert_eq!(marked(&spec.marker), Vec::<String>::new(), "{script}");
    }
}

#[tokio::test]
async fn a_helper_that_ends_by_itself_may_finish_its_work() {
    let (ended, kept) = run(&shell("(sleep 0.05; echo late) & echo early")).await;
    assert_eq!((ended.exit_code, kept.stdout().as_str()), (Some(0), "early\nlate\n"));
}

#[tokio::test]
async fn a_daemon_lives_on_and_does_not_hold_the_attempt() {
    for (case, script, counted) in [
        ("holds the pipe", "setsid sleep 61 & sleep 0.1; echo started", 1),
        ("writes without end", "setsid sh -c 'while :; do echo x; sleep 0.01; done' & sleep 0.1; echo started", 1),
        ("holds nothing", "setsid sleep 61 >/dev/null 2>&1 & sleep 0.1; echo started", 0),
    ] {
        let spec = shell(script);
        let start = Instant::now();
        let (ended, kept) = run(&spec).await;
        assert!(start.elapsed() < Duration::from_secs(10), "{case}: {:?}", start.elapsed());
        assert!(ended.elapsed < start.elapsed(), "{case}");
        assert_eq!(ended.exit_code, Some(0), "{case}");
        assert!(kept.stdout().contains("started\n"), "{case}");
        assert!(ended.left_behind >= counted, "{case}: {ended:?}");
        assert_ne!(marked(&spec.marker), Vec::<String>::new(), "{case}: it was killed");
        end_marked(&spec.marker).await;
    }
}

#[tokio::test]
async fn an_attempt_that_is_dropped_is_killed() {
    let parent = tempfile::tempdir().unwrap();
    let mut spec = shell("trap '' TERM; sleep 60 & sleep 60");
    spec.cwd = Cwd::Fresh(parent.path().into());
    let (launcher, cancel, mut sink) = (launcher(), CancellationToken::new(), Kept::default());
    tokio::select! {
        ended = launcher.run(&spec, &cancel, &mut sink) => panic!("{ended:?}"),
        () = until("its processes", || marked(&spec.marker).len() == 3) => {}
    }
    until("their end", || marked(&spec.marker).is_empty()).await;
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}

/// Attempts share the session of the worker that started them, and with it the user's shell and everything else in it.
#[tokio::test]
async fn what_an_earlier_worker_left_is_ended_and_its_session_is_spared() {
    let (marker, bystander, left) = (marker(), number(), number());
    let marked_as = |end: &str| format!("{ATTEMPT_VARIABLE}={marker} sh -c '{end}'");
    let script = format!(
        "sleep {bystander} & {} & {} & wait",
        marked_as(&format!("exec sleep {left}")),
        marked_as(&format!("exec setsid sh -c \"env -i sleep {left} & wait\"")),
    );
    let mut session = tokio::process::Command::new("setsid");
    let mut session = session.args(["sh", "-c", &script]).kill_on_drop(true).spawn().unwrap();
    let alone = |number: &str| told_by(&format!("sleep\0{number}\0")).len();
    until("its processes", || alone(&bystander) == 1 && alone(&left) == 2).await;
    assert_eq!(rr_worker::process::end_marked(vec![marker]).await, 0);
    until("the end of what is left", || alone(&left) == 0).await;
    assert_eq!(alone(&bystander), 1, "it is no part of the attempt");
    assert!(session.try_wait().unwrap().is_none(), "nor is the leader of the session");
    for pid in told_by(&format!("sleep\0{bystander}\0")) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    session.wait().await.unwrap();
}
