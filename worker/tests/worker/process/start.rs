//! What is started, how, and why not.

use std::os::unix::fs::PermissionsExt as _;

use rr_worker::process::{Outcome, SpawnError};

use super::*;

#[tokio::test]
async fn an_end_is_told_by_exit_code_or_signal() {
    for (script, code, signal) in [
        ("exit 0", Some(0), None),
        ("exit 7", Some(7), None),
        ("exit 255", Some(255), None),
        ("kill -TERM $$", None, Some(15)),
        ("kill -KILL $$", None, Some(9)),
    ] {
        let (ended, kept) = run(&shell(script)).await;
        assert!(matches!(ended.outcome, Outcome::Exited), "{script}: {ended:?}");
        assert_eq!((ended.exit_code, ended.signal), (code, signal), "{script}");
        assert_eq!((ended.left_behind, kept.0.len()), (0, 0), "{script}");
        assert!(ended.elapsed > Duration::ZERO, "{script}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "#!/bin/sh\n", 0o644);
    let no_interpreter = file("no-interpreter", "#!/no/such/shell\n", 0o755);
    let no_format = file("no-format", "echo hello\n", 0o755);
    let here = dir.path().to_str().unwrap().to_owned();
    let long = "x".repeat(200 * 1024);
    let many: Vec<&str> = std::iter::once("true").chain((0..60).map(|_| &long[..100_000])).collect();

    for (case, args, expected) in [
        ("absent", vec!["/no/such/program"], "NotFound"),
        ("not on PATH", vec!["no-such-program-anywhere"], "NotFound"),
        ("not executable", vec![&plain], "NotExecutable"),
        ("no interpreter", vec![&no_interpreter], "NotExecutable"),
        ("no format", vec![&no_format], "NotExecutable"),
        ("directory", vec![&here], "NotExecutable"),
        ("argument too long", vec!["true", &long], "TooBig"),
        ("arguments too long", many, "TooBig"),
        ("NUL", vec!["echo", "a\0b"], "Invalid"),
        ("NUL in the name", vec!["ec\0ho"], "Invalid"),
        ("no name", vec![""], "Invalid"),
        ("nothing", vec![], "Invalid"),
    ] {
        refused(case, &argv(&args), expected).await;
    }
    let bad = |change: &dyn Fn(&mut Spec)| {
        let mut spec = argv(&["true"]);
        change(&mut spec);
        spec
    };
    let set = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    for (case, spec, expected) in [
        ("absent directory", bad(&|it| it.cwd = Cwd::Given("/no/such/dir".into())), "BadCwd"),
        ("file as directory", bad(&|it| it.cwd = Cwd::Given(plain.clone().into())), "BadCwd"),
        ("absent parent", bad(&|it| it.cwd = Cwd::Fresh("/no/such/dir".into())), "BadCwd"),
        ("variable too long", bad(&|it| it.env.set = set("A", &long)), "TooBig"),
        ("NUL in a variable", bad(&|it| it.env.set = set("A", "\0")), "Invalid"),
        ("= in a variable's name", bad(&|it| it.env.set = set("A=B", "c")), "Invalid"),
        ("marker of two words", bad(&|it| it.marker = "a b".into()), "Invalid"),
    ] {
        refused(case, &spec, expected).await;
    }
}

async fn refused(case: &str, spec: &Spec, expected: &str) {
    let (ended, kept) = run(spec).await;
    let Outcome::NotStarted(error) = &ended.outcome else {
        panic!("{case}: {ended:?}");
    };
    let kind = match error {
        SpawnError::NotFound(_) => "NotFound",
        SpawnError::NotExecutable { .. } => "NotExecutable",
        SpawnError::BadCwd(..) => "BadCwd",
        SpawnError::TooBig(_) => "TooBig",
        SpawnError::Invalid(_) => "Invalid",
        SpawnError::Exhausted(..) => "Exhausted",
        SpawnError::System(..) => "System",
    };
    assert_eq!(kind, expected, "{case}: {error:?}");
    assert_eq!((ended.exit_code, ended.signal, ended.elapsed), (None, None, Duration::ZERO), "{case}");
    assert!(kept.0.is_empty(), "{case}");
}

#[tokio::test]
async fn a_program_is_found_as_a_shell_would_find_it() {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = bin.join("hello");
    std::fs::write(&program, "#!/bin/sh\necho \"$0 in $(pwd)\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let here = dir.path().canonicalize().unwrap();
    for (name, path) in [("./bin/hello", "/usr/bin:/bin"), ("hello", "/nowhere:bin:/usr/bin:/bin")] {
        let mut spec = argv(&[name]);
        spec.cwd = Cwd::Given(here.clone());
        spec.env.set = [("PATH".into(), path.into())].into();
        let (ended, kept) = run(&spec).await;
        assert_eq!(ended.exit_code, Some(0), "{name}: {ended:?}");
        assert!(kept.stdout().ends_with(&format!("bin/hello in {}\n", here.display())), "{}", kept.stdout());
    }
}

#[tokio::test]
async fn an_attempt_sees_its_environment_and_no_input() {
    let mut spec = shell("cat; env");
    spec.env.set = [("MINE".into(), "two words".into()), (ATTEMPT_VARIABLE.into(), "forged".into())].into();
    let (ended, kept) = run(&spec).await;
    assert_eq!(ended.exit_code, Some(0));
    let out = kept.stdout();
    let mut names: Vec<&str> = out.lines().filter_map(|line| line.split('=').next()).collect();
    // The shell itself adds these.
    names.retain(|name| !["PWD", "SHLVL", "OLDPWD", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "MINE", "PATH", "RR_ATTEMPT_ID", "RR_WORKER_INSTANCE"]);
    assert!(out.contains("MINE=two words\n"));
    assert!(out.contains(&format!("{ATTEMPT_VARIABLE}={}\n", spec.marker)));
    assert!(out.contains("RR_WORKER_INSTANCE=test-worker\n"));
}

#[tokio::test]
async fn a_fresh_directory_is_private_and_goes_with_its_attempt() {
    let parent = tempfile::tempdir().unwrap();
    let mut spec = shell("pwd; stat -c %a .; mkdir -p deep/er; touch deep/er/file; ls -A | wc -l");
    spec.cwd = Cwd::Fresh(parent.path().into());
    let (first, second) = futures::future::join(run(&spec), run(&spec)).await;
    let lines = |kept: &Kept| kept.stdout().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&first.1)[1..], ["700", "1"]);
    assert_ne!(lines(&first.1)[0], lines(&second.1)[0]);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_attempt_leads_its_group_and_where_that_is_wanted_its_session() {
    // Read rather than asked for: where a container was entered from outside, the session is 0, which no call's type has room for.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let own: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().parse().unwrap();
    for session in [Session::Shared, Session::Own] {
        // Of `/proc/self/stat`: process, group, session, terminal.
        let spec = argv(&["/usr/bin/cut", "-d ", "-f1,5,6,7", "/proc/self/stat"]);
        let mut kept = Kept::default();
        let ended = Launcher { session, ..launcher() }.run(&spec, &CancellationToken::new(), &mut kept).await;
        assert_eq!(ended.exit_code, Some(0), "{ended:?}");
        let stdout = kept.stdout();
        let ids: Vec<i32> = stdout.split_whitespace().map(|id| id.parse().unwrap()).collect();
        let [process, group, found, terminal] = ids[..] else { panic!("{stdout}") };
        assert_eq!(group, process, "{session:?}");
        match session {
            Session::Shared => assert_eq!(found, own),
            Session::Own => assert_eq!((found, terminal), (process, 0)),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why_also_in_a_session_of_its_own() {
    let launcher = Launcher { session: Session::Own, ..launcher() };
    let ended = launcher.run(&argv(&["/no/such/program"]), &CancellationToken::new(), &mut Kept::default()).await;
    assert!(matches!(ended.outcome, Outcome::NotStarted(SpawnError::NotFound(_))), "{ended:?}");
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("no-interpreter");
    std::fs::write(&program, "#!/no/such/shell\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let spec = argv(&[program.to_str().unwrap()]);
    let ended = launcher.run(&spec, &CancellationToken::new(), &mut Kept::default()).await;
    assert!(matches!(ended.outcome, Outcome::NotStarted(SpawnError::NotExecutable { .. })), "{ended:?}");
}
