//! The limits themselves: a process of its own, in which nothing else allocates.

use std::time::{Duration, Instant};

use rr_fuzz::limits::{Limits, within};

#[test]
fn what_takes_too_long_or_too_much_is_said() {
    let wide = Limits { time: Duration::from_mins(1), time_per_kib: Duration::ZERO, bytes: 1 << 30, bytes_per_byte: 0 };
    let tight = Limits { time: Duration::from_millis(5), ..wide };
    let slow = within(tight, 0, || {
        let start = Instant::now();
        let mut n = 0_u64;
        // By the processor's time: this waits for at least as much.
        while start.elapsed() < Duration::from_mins(1) && n < 100_000_000 {
            n = std::hint::black_box(n + 1);
        }
        Ok(())
    });
    assert!(slow.unwrap_err().contains("limit 5ms"));
    let waits = within(tight, 0, || {
        let (_held, receive) = std::sync::mpsc::channel::<()>();
        Ok(receive.recv_timeout(Duration::from_millis(80)).is_err())
    });
    assert!(waits.unwrap().0, "whoever waits does not work");

    let hungry =
        |limits| within(limits, 1024, || Ok(vec![1_u8; 64 * 1024].iter().rev().position(|byte| *byte == 0).is_none()));
    let (done, cost) = hungry(wide).unwrap();
    assert!(done && (64 * 1024..68 * 1024).contains(&cost.bytes), "{cost:?}");
    let small = Limits { bytes: 1024, ..wide };
    assert!(hungry(small).unwrap_err().contains("bytes of memory"));
    assert!(hungry(Limits { bytes_per_byte: 64, ..small }).is_ok());
    let refused = within::<()>(wide, 0, || Err("no".to_owned()));
    assert_eq!(refused, Err("no".to_owned()));
}
