//! What each role may publish and subscribe to, as the server has it.

use futures::future::join_all;

use super::{Guarded, SILENCE};

/// The users, in the order of the columns.
const USERS: [&str; 4] = ["w9", "p", "v", "c1"];

/// A subject, and `x` for each of worker, publisher, watcher and coordinator that may publish to it. What is sent there
/// is nothing that anybody understands, so whoever may does no harm.
const PUBLISH: [(&str, &str); 64] = [
    ("rr.in.0.r9.api", "-x-x"),
    ("rr.in.0.r9.w.w9", "x---"),
    ("rr.in.0.r9.w.w1", "----"),
    ("rr.in.0.r9.claim.0.1.w9.i1", "x---"),
    ("rr.in.0.r9.claim.0.1.w1.i1", "----"),
    ("rr.in.0.r9.claim.0.1._rr.i1", "---x"),
    ("rr.in.0.r9.note", "---x"),
    ("rr.in.0.r9.timer", "---x"),
    ("rr.in.0.r9.w", "----"),
    ("rr.ev.0.r9", "---x"),
    ("rr.at.0.r9", "---x"),
    ("rr.fired.0.r9", "----"),
    ("rr.work.h.h1.r9.0.1", "---x"),
    ("rr.work.q.default.2.r9.0.1", "---x"),
    ("rr.work.w.w9.r9.0.1", "---x"),
    ("rr.out.w9.r9.0", "x---"),
    ("rr.out.w1.r9.0", "----"),
    ("rr.bad.worker.w9", "x---"),
    ("rr.bad.worker.w1", "----"),
    ("rr.bad.coordinator.c9", "---x"),
    ("rr.ctl.w1", "---x"),
    ("rr.ctl.w9", "---x"),
    ("rr.api.join.w9", "x---"),
    ("rr.api.join.w1", "----"),
    ("rr.api.publish", "-x--"),
    ("rr.api.cancel", "-x--"),
    ("rr.api.status", "-xx-"),
    ("rr.api.list", "-xx-"),
    ("$SRV.PING", "--x-"),
    ("$KV.rr-workers.worker.w9", "x---"),
    ("$KV.rr-workers.worker.w1", "----"),
    ("$KV.rr-workers.coordinator.c9", "---x"),
    ("$KV.rr-runs.r9", "---x"),
    ("$KV.rr-locks.r9", "xx--"),
    ("$JS.API.STREAM.MSG.GET.KV_rr-locks", "xxx-"),
    ("$JS.API.CONSUMER.CREATE.KV_rr-locks.r-1", "----"),
    ("$JS.API.CONSUMER.MSG.NEXT.RR_WORK.w-w9", "x---"),
    ("$JS.API.CONSUMER.MSG.NEXT.RR_WORK.q2-default", "x---"),
    ("$JS.API.CONSUMER.MSG.NEXT.RR_WORK.w-w1", "----"),
    ("$JS.API.CONSUMER.MSG.NEXT.RR_WORK.q-other", "----"),
    ("$JS.API.CONSUMER.MSG.NEXT.RR_EVENTS.p0", "---x"),
    ("$JS.API.CONSUMER.MSG.NEXT.RR_TIMERS.timers", "---x"),
    ("$JS.ACK.RR_WORK.w-w1.1.1.1.0.0", "----"),
    ("$JS.ACK.RR_WORK.q2-default.1.1.1.0.0", "x---"),
    ("$JS.API.CONSUMER.CREATE.RR_WORK.thief", "---x"),
    ("$JS.API.CONSUMER.CREATE.RR_EVENTS.r-1", "--xx"),
    ("$JS.API.CONSUMER.CREATE.RR_EVENTS.p0", "---x"),
    ("$JS.API.CONSUMER.CREATE.RR_EVENTS.p1.rr.ev.>", "---x"),
    ("$JS.API.CONSUMER.DELETE.RR_WORK.w-w1", "----"),
    ("$JS.API.CONSUMER.DELETE.RR_EVENTS.p0", "---x"),
    ("$JS.API.DIRECT.GET.RR_EVENTS", "--xx"),
    ("$JS.API.DIRECT.GET.RR_WORK", "----"),
    ("$JS.API.STREAM.MSG.GET.RR_EVENTS", "--xx"),
    ("$JS.API.STREAM.MSG.GET.RR_WORK", "---x"),
    ("$JS.API.STREAM.MSG.DELETE.RR_WORK", "---x"),
    ("$JS.API.STREAM.PURGE.RR_WORK", "---x"),
    ("$JS.API.STREAM.UPDATE.RR_EVENTS", "----"),
    ("$JS.API.STREAM.DELETE.RR_EVENTS", "----"),
    ("$JS.API.STREAM.MSG.DELETE.RR_EVENTS", "----"),
    ("$JS.API.STREAM.CREATE.X", "----"),
    ("$JS.API.STREAM.CREATE.RR_EVENTS", "----"),
    ("$JS.API.STREAM.CREATE.RR_TIMERS", "---x"),
    ("$JS.API.CONSUMER.CREATE.RR_TIMERS.timers", "---x"),
    ("$JS.API.CONSUMER.CREATE.RR_TIMERS.thief", "----"),
];

/// The same for subscribing; `%` stands for the user's own name.
const SUBSCRIBE: [(&str, &str); 15] = [
    ("_INBOX_%.>", "xxxx"),
    ("_INBOX.>", "----"),
    ("_INBOX_w1.>", "----"),
    ("_R_.>", "----"),
    (">", "----"),
    ("rr.>", "----"),
    ("rr.work.>", "----"),
    ("rr.ev.>", "----"),
    ("rr.in.>", "----"),
    ("rr.ctl.w9", "x---"),
    ("rr.ctl.w1", "----"),
    ("rr.api.join.*", "---x"),
    ("$KV.rr-locks.*", "xx--"),
    ("$KV.>", "----"),
    ("$JS.>", "----"),
];

#[tokio::test]
async fn each_role_may_do_what_stands_in_the_table_and_nothing_else() {
    let (guarded, _coordinator, _worker) = Guarded::with_mesh().await;
    for (column, user) in USERS.into_iter().enumerate() {
        let raw = guarded.raw(user).await;
        join_all(PUBLISH.iter().map(|(subject, _)| raw.ask(subject, &[], "?"))).await;
        let mut subscribed = Vec::new();
        for (subject, _) in SUBSCRIBE {
            subscribed.push(raw.client.subscribe(subject.replace('%', user)).await.unwrap());
        }
        raw.client.flush().await.unwrap();
        tokio::time::sleep(SILENCE).await;
        let wrong = |what: &str, table: &[(&str, &str)]| -> Vec<String> {
            let may = |row: &str| row.as_bytes()[column] == b'x';
            let rows =
                table.iter().filter(|(subject, row)| raw.is_refused(what, &subject.replace('%', user)) == may(row));
            rows.map(|(subject, row)| format!("{user} {subject} {}", may(row))).collect()
        };
        assert_eq!(wrong("Publish", &PUBLISH), Vec::<String>::new());
        assert_eq!(wrong("Subscription", &SUBSCRIBE), Vec::<String>::new());
    }
}
