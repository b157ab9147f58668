//! A real ssh server on loopback, as the current user: its own keys, its own configuration, any number of host names.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::process::Child;

use crate::process::pid;
use crate::wait::eventually;

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(20);

/// Where systems keep the server: not on everybody's `PATH`.
const PLACES: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/lib/ssh/sshd"];

/// An ssh server, and the configuration of a client that knows it. Ended when this is dropped.
#[derive(Debug)]
pub struct SshServer {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl SshServer {
    /// Starts one.
    ///
    /// # Panics
    /// There is no OpenSSH on this machine, or it does not listen.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts ssh servers")]
    pub async fn start() -> Self {
        let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
        let places = on_path.unwrap_or_default().into_iter().map(|dir| dir.join("sshd"));
        let program = places.chain(PLACES.map(PathBuf::from)).find(|program| program.is_file());
        let program = program.expect("an OpenSSH server: these tests need one (apt-get install openssh-server)");
        let dir = tempfile::Builder::new().prefix("rr-sshd-").tempdir().expect("a temporary directory");
        if getuid().is_root() {
            // What the service's own script makes.
            fs::create_dir_all("/run/sshd").expect("the directory in which a server of root drops its rights");
        }
        for name in ["host", "user", "other"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(dir.path().join(name));
            assert!(keygen.status().expect("ssh-keygen").success());
        }
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let at = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/user.pub\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\nPrintMotd no\n"
        );
        fs::write(dir.path().join("sshd_config"), config).expect("a configuration");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let mut command = tokio::process::Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(dir.path().join("sshd_config"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0).kill_on_drop(true);
        let child = command.spawn().expect("a server");
        let server = Self { dir, port, child };
        server.write_client("known", "host");
        server.write_client("mistaken", "other");
        eventually("ssh server", READY, async || {
            let log = server.log();
            if log.contains("Server listening") { Ok(()) } else { Err(log) }
        })
        .await;
        server
    }

    /// The configuration of a client for which every name is this server; names that begin with `closed` are where nobody listens.
    pub fn client(&self) -> PathBuf {
        self.dir.path().join("known")
    }

    /// The same, but it knows another key of the server.
    pub fn mistaken_client(&self) -> PathBuf {
        self.dir.path().join("mistaken")
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// How many connections it has let in.
    pub fn connections(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Cuts every connection, as a cable does: nobody says farewell to the commands.
    pub fn cut(&self) {
        let own = self.child.id().unwrap_or_default();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            let _ = kill_process(pid(child), Signal::KILL);
        }
    }

    fn write_client(&self, name: &str, key: &str) {
        let at = self.dir.path();
        let public = fs::read_to_string(at.join(format!("{key}.pub"))).expect("a public key");
        fs::write(at.join(format!("hosts-{name}")), format!("server {public}")).expect("a file of known hosts");
        fs::set_permissions(at.join("user"), fs::Permissions::from_mode(0o600)).expect("a private key");
        let text = config(at, name, self.port);
        fs::write(at.join(name), text).expect("a configuration");
    }
}

fn config(at: &Path, name: &str, port: u16) -> String {
    let at = at.display();
    format!(
        "Host closed*\n  Port 1\nHost *\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias server\n  IdentityFile {at}/user\n  \
         IdentitiesOnly yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {at}/hosts-{name}\n"
    )
}
