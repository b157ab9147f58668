//! Output of any size and kind.

use super::*;

/// Counts, and keeps nothing.
#[derive(Default)]
struct Counted {
    bytes: u64,
    chunk_bytes_max: usize,
}

impl Sink for Counted {
    async fn chunk(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes.len() as u64;
        self.chunk_bytes_max = self.chunk_bytes_max.max(chunk.bytes.len());
    }
}

/// The largest resident size of this process so far.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn any_amount_of_output_is_counted_exactly_in_little_memory() {
    let before = peak_bytes();
    for (case, script, bytes) in [
        ("1 GB", "head -c 1G /dev/zero", 1 << 30),
        ("a line of 100 MB", "head -c 100M /dev/zero | tr '\\0' x", 100 << 20),
        ("both streams", "head -c 20M /dev/zero & head -c 20M /dev/zero >&2; wait", 40 << 20),
    ] {
        let mut sink = Counted::default();
        let ended = launcher().run(&shell(script), &CancellationToken::new(), &mut sink).await;
        let output = ended.output;
        assert_eq!(ended.exit_code, Some(0), "{case}");
        assert_eq!(output.stdout_bytes + output.stderr_bytes, bytes, "{case}");
        assert_eq!(sink.bytes, CaptureLimits::default().bytes_max, "{case}");
        assert_eq!(output.dropped_bytes, bytes - sink.bytes, "{case}");
        assert!(sink.chunk_bytes_max <= 64 * 1024, "{case}");
    }
    let grown = peak_bytes() - before;
    assert!(grown < 64 << 20, "{grown}");
}

#[tokio::test]
async fn the_beginning_and_the_end_are_kept_where_they_were() {
    let mut spec = shell("seq 1 1000000");
    spec.capture = CaptureLimits { bytes_max: 100_000, tail_bytes: 10_000, chunk_bytes: 4096 };
    let all: Vec<u8> = (1..=1_000_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let (ended, kept) = run(&spec).await;
    assert_eq!(ended.output.stdout_bytes, all.len() as u64);
    assert_eq!(ended.output.dropped_bytes, all.len() as u64 - 100_000);
    let shipped = kept.of(Stream::Stdout);
    assert_eq!(shipped[..90_000], all[..90_000]);
    assert_eq!(shipped[90_000..], all[all.len() - 10_000..]);
    for chunk in &kept.0 {
        let from = usize::try_from(chunk.offset).unwrap();
        assert_eq!(chunk.bytes, all[from..from + chunk.bytes.len()]);
    }
}

#[tokio::test]
async fn output_is_bytes() {
    let (ended, kept) = run(&shell(r"printf '\377\000\033[31m\200'; printf '\303' >&2")).await;
    assert_eq!(kept.of(Stream::Stdout), b"\xff\0\x1b[31m\x80");
    assert_eq!(kept.of(Stream::Stderr), b"\xc3");
    assert_eq!((ended.output.dropped_bytes, ended.output.chunks), (0, 2));
}

#[tokio::test]
async fn a_line_shows_while_the_attempt_runs() {
    struct Answer(std::path::PathBuf);
    impl Sink for Answer {
        async fn chunk(&mut self, _: Chunk) {
            std::fs::write(&self.0, "seen").unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("answer");
    // It ends only when its line was seen.
    let mut spec = shell("echo question; until [ -e answer ]; do sleep 0.01; done");
    spec.cwd = Cwd::Given(dir.path().into());
    spec.timeout = Some(WAIT_MAX);
    let ended = launcher().run(&spec, &CancellationToken::new(), &mut Answer(file)).await;
    assert_eq!(ended.exit_code, Some(0), "{ended:?}");
    assert!(ended.elapsed < Duration::from_secs(5), "{:?}", ended.elapsed);
}

#[tokio::test]
async fn a_burst_within_the_limit_is_whole_even_with_a_slow_sink() {
    struct Slow(u64);
    impl Sink for Slow {
        async fn chunk(&mut self, chunk: Chunk) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            self.0 += chunk.bytes.len() as u64;
        }
    }
    let mut sink = Slow(0);
    let spec = shell("head -c 5M /dev/zero");
    let ended = launcher().run(&spec, &CancellationToken::new(), &mut sink).await;
    assert_eq!((sink.0, ended.output.dropped_bytes), (5 << 20, 0));
}

#[tokio::test]
async fn a_stuck_sink_neither_blocks_the_process_nor_hides_its_end() {
    struct Stuck;
    impl Sink for Stuck {
        async fn chunk(&mut self, _: Chunk) {
            std::future::pending::<()>().await;
        }
    }
    let spec = shell("head -c 50M /dev/zero");
    let ended = launcher().run(&spec, &CancellationToken::new(), &mut Stuck).await;
    assert_eq!(ended.exit_code, Some(0));
    assert_eq!((ended.output.stdout_bytes, ended.output.dropped_bytes), (50 << 20, 50 << 20));
}
