//! `rr run` at a terminal: the commands that it starts have none.

use std::path::Path;

use rr_tests::Sandbox;

/// Runs its arguments at a terminal of their own, which nobody types at.
const AT_A_TERMINAL: &str = "import os, pty, sys\nsys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:], lambda fd: \
                             os.read(fd, 1024), lambda fd: b'')))\n";

/// A command that shares the terminal's session is stopped by its read, and hangs until its time limit.
#[tokio::test]
async fn a_command_can_neither_read_what_the_user_types_nor_be_stopped_by_the_terminal() {
    let sandbox = Sandbox::new().await;
    let script = "if (: </dev/tty) 2>/dev/null; then head -c1 </dev/tty; echo has a terminal; else echo has none; fi";
    let flow = format!("name: f\njobs:\n  - {{ name: a, shell: '{script}', hosts: [h1], timeout: 10s }}\n");
    sandbox.write("flow.yaml", flow);
    let rr = rr_tests::program::rr().to_str().unwrap();
    let args = ["-c", AT_A_TERMINAL, rr, "run", "flow.yaml", "--id", "r1"];
    let _ran = sandbox.call(Path::new("python3"), args).run().await.exits(0);
    let _logs = sandbox.rr(["logs", "r1"]).run().await.exits(0).says(&["has none"]);
}
