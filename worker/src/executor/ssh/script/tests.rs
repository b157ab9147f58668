//! The wrapper with a real shell, and no ssh.
#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::*;

/// Standard output and error of a wrapper that is told to go, and its exit code.
fn run(remote: &Remote<'_>) -> (String, String, i32) {
    let token = Token::random();
    let mut child = Command::new("/bin/sh")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(remote.script(&token).unwrap().as_bytes()).unwrap();
    let (mut stdout, mut stderr) = (Vec::new(), String::new());
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    // Not before: a shell may read ahead as long as it reads its script.
    errors.read_line(&mut stderr).unwrap();
    stdin.write_all(b"go\n").unwrap();
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    errors.read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    drop(stdin);
    let line = |what: &str| format!("\u{1e}{} {what}\n", token.printable());
    let stdout = String::from_utf8(stdout).unwrap();
    let stdout = stdout.strip_prefix(&line("begin")).unwrap_or_else(|| panic!("{stdout:?}")).to_owned();
    let stderr = stderr.strip_prefix(&line("begin")).and_then(|text| text.strip_suffix(&line(&format!("end {code}"))));
    (stdout, stderr.unwrap_or_default().to_owned(), code)
}

fn remote(argv: &[&'static str]) -> Remote<'static> {
    Remote {
        argv: argv.to_vec(),
        env: BTreeMap::new(),
        cwd: None,
        marker: "run1.0.1.test",
        grace: Duration::from_secs(1),
    }
}

#[test]
fn arguments_and_variables_arrive_as_they_are_whatever_is_in_them() {
    const LETTERS: [&str; 24] = [
        "'",
        "\"",
        "\\",
        "$",
        "`",
        "!",
        "\n",
        " ",
        "*",
        "?",
        "~",
        "#",
        "(",
        ")",
        ";",
        "&",
        "|",
        "<",
        ">",
        "=",
        "-",
        "ä",
        "@COMMAND@",
        "a",
    ];
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut text =
        |longest| -> String { (0..rng.usize(0..longest)).map(|_| LETTERS[rng.usize(0..LETTERS.len())]).collect() };
    for _ in 0..40 {
        let texts: Vec<String> = (0..5).map(|_| text(12)).collect();
        let (value, param) = (text(12), text(30));
        let argv = ["printf", "[%s]"].into_iter().chain(texts.iter().map(String::as_str)).collect();
        let all = format!("[{}]", texts.join("]["));
        assert_eq!(run(&Remote { argv, ..remote(&[]) }), (all, String::new(), 0), "seed {seed}");
        let env = [("VALUE".to_owned(), value.clone()), ("RR_PARAM_X".to_owned(), param.clone())].into();
        let argv = vec!["/bin/sh", "-c", "printf '%s|%s' \"$VALUE\" \"$RR_PARAM_X\"; printf E >&2; exit 255"];
        let found = run(&Remote { argv, env, ..remote(&[]) });
        assert_eq!(found, (format!("{value}|{param}"), "E".to_owned(), 255), "seed {seed}");
    }
}

#[test]
fn the_command_has_its_directory_no_input_and_ordinary_signals() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("it's here");
    std::fs::create_dir(&path).unwrap();
    let cwd = path.to_str();
    assert_eq!(run(&Remote { cwd, ..remote(&["pwd"]) }).0, format!("{}\n", path.display()));
    assert_eq!(run(&remote(&["cat"])), (String::new(), String::new(), 0));
    // Nothing is ignored or blocked, nothing but the standard streams is open.
    let (found, ..) = run(&remote(&["/bin/sh", "-c", "grep Sig[BI] /proc/self/status; echo /proc/self/fd/*"]));
    // But for what whoever runs the tests has ignored before, as nohup does: no shell can undo that.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let (mut n, mut more) = (0, 0);
    for (name, mask) in found.lines().filter_map(|line| line.split_once(":\t")) {
        let of_tests = own.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
        let bits = |mask: &str| u64::from_str_radix(mask.trim(), 16).unwrap();
        // The upper half is for real-time signals, and the highest bit below them for the libc's own.
        more |= bits(mask) & !bits(of_tests) & 0x7fff_ffff;
        n += 1;
    }
    assert_eq!((n, more), (2, 0), "{found}");
    assert!(!found.contains("/4") && !found.contains("/5"), "{found}");
}

#[test]
fn ends_are_told_as_a_shell_tells_them() {
    for (argv, code) in [
        (&["true"][..], 0),
        (&["/bin/sh", "-c", "exit 7"], 7),
        (&["/bin/sh", "-c", "kill -s KILL $$"], 137),
        (&["no-such-program-anywhere"], 127),
    ] {
        assert_eq!(run(&remote(argv)).2, code, "{argv:?}");
    }
}

#[test]
fn what_no_process_can_be_started_with_is_refused() {
    let token = Token::random();
    for argv in [&[][..], &[""], &["-x"], &["echo", "a\0b"]] {
        assert!(remote(argv).script(&token).is_err(), "{argv:?}");
    }
    assert!(Remote { env: [("A".to_owned(), "\0".to_owned())].into(), ..remote(&["true"]) }.script(&token).is_err());
}
