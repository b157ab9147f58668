//! An ssh server on loopback, as the current user: its own keys, its own configuration, any number of host names.
//!
//! It is OpenSSH's where there is one, otherwise one in Python (`tests/python/sshd.py`, on asyncssh); the client is always
//! OpenSSH's. `RR_TEST_SSHD` forces one: `asyncssh`, or the path of an sshd.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, getuid, kill_process};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::sync::OnceCell;

use crate::process::pid;
use crate::program;
use crate::python::{self, Python};
use crate::wait::eventually;

/// How long a server may take to listen.
const READY: Duration = Duration::from_secs(20);

/// Where systems keep the server: not on everybody's `PATH`.
const PLACES: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/lib/ssh/sshd"];

/// Which server is forced.
const FORCED: &str = "RR_TEST_SSHD";

/// What is run as a server.
#[derive(Clone, Debug)]
enum Server {
    OpenSsh(PathBuf),
    Asyncssh(Python),
}

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
    /// There is no client, neither an sshd nor what the other server needs, or the server does not listen.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts ssh servers")]
    pub async fn start() -> Self {
        let program = server().await;
        let dir = tempfile::Builder::new().prefix("rr-sshd-").tempdir().expect("a temporary directory");
        for name in ["host", "user", "other"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(dir.path().join(name));
            assert!(keygen.status().expect("ssh-keygen").success());
        }
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let mut command = program.command(dir.path(), port);
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

    /// What the server has logged, in sshd's words.
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
        let text = client_config(at, name, self.port);
        fs::write(at.join(name), text).expect("a configuration");
    }
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "an ssh server is a program")]
    fn command(&self, at: &Path, port: u16) -> tokio::process::Command {
        match self {
            Self::OpenSsh(program) => {
                if getuid().is_root() {
                    // What the service's own script makes.
                    let made = fs::create_dir_all("/run/sshd");
                    made.expect("the directory in which a server of root drops its rights");
                }
                fs::write(at.join("sshd_config"), server_config(at, port)).expect("a configuration");
                let mut command = tokio::process::Command::new(program);
                command.args(["-D", "-e", "-f"]).arg(at.join("sshd_config"));
                command
            }
            Self::Asyncssh(python) => {
                let mut command = tokio::process::Command::new(&python.program);
                // Without the packages of the machine, which may not fit the pinned ones.
                command.arg("-S").arg(program::root().join("tests/python/sshd.py"));
                command.arg(at.join("host")).arg(at.join("user.pub")).arg(port.to_string());
                command.env("PYTHONPATH", &python.path).env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
        }
    }
}

/// The server of this run of the tests, chosen once.
async fn server() -> Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(choose).await.clone()
}

async fn choose() -> Server {
    for name in ["ssh", "ssh-keygen"] {
        let is_there = on_path(name).is_some();
        assert!(
            is_there,
            "the tests of ssh need an OpenSSH client, and there is no {name} on PATH: install one \
             (apt-get install openssh-client, apk add openssh-client, dnf install openssh-clients)"
        );
    }
    let forced = std::env::var_os(FORCED).filter(|forced| !forced.is_empty());
    let server = match forced {
        Some(forced) if forced == "asyncssh" => Server::Asyncssh(python::with_asyncssh().await),
        Some(forced) => {
            let program = PathBuf::from(forced);
            // It starts itself anew for each connection, and insists on an absolute path for that.
            assert!(
                program.is_absolute() && program.is_file(),
                "{FORCED} must be \"asyncssh\" or the absolute path of an sshd; got {}",
                program.display()
            );
            Server::OpenSsh(program)
        }
        None => match on_path("sshd").or_else(|| PLACES.map(PathBuf::from).into_iter().find(|it| it.is_file())) {
            Some(program) => Server::OpenSsh(program),
            None => Server::Asyncssh(python::with_asyncssh().await),
        },
    };
    let name = match &server {
        Server::OpenSsh(program) => program.display().to_string(),
        Server::Asyncssh(python) => format!("asyncssh, in {}", python.program.display()),
    };
    // Not with a macro: the tests' runner keeps what those write until the test fails.
    drop(writeln!(std::io::stderr(), "the ssh server of these tests is {name}"));
    server
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|it| it.is_file())
}

fn server_config(at: &Path, port: u16) -> String {
    let at = at.display();
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/user.pub\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel VERBOSE\nPrintMotd no\n"
    )
}

/// The configuration of a client.
fn client_config(at: &Path, name: &str, port: u16) -> String {
    let at = at.display();
    format!(
        "Host closed*\n  Port 1\nHost *\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias server\n  IdentityFile {at}/user\n  \
         IdentitiesOnly yes\n  StrictHostKeyChecking yes\n  UserKnownHostsFile {at}/hosts-{name}\n"
    )
}
