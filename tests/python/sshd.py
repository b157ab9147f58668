"""An ssh server for tests on machines without OpenSSH's: `sshd.py HOST_KEY AUTHORIZED_KEYS PORT`.

It runs real commands as its own user, and does what sshd does as far as a client without a terminal can tell: a process
for each connection, a session (and with it a process group) and three pipes for each command, any number of commands
over a connection. When a connection or a channel ends, the pipes of its commands are closed; nobody signals them.
What it logs to stderr is in sshd's words.
"""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys

import asyncssh

# Input that a command has not taken; past it the client is told to wait.
PENDING_MAX = 256 * 1024
# At most one pipe's worth at once.
READ_MAX = 64 * 1024


def log(line):
    # One write, so that the lines of several processes do not mix.
    os.write(2, (line + "\n").encode())


class Command(asyncssh.SSHServerSession):
    """A command, from its start to its exit status."""

    running = set()

    def __init__(self, environment):
        self.environment = environment
        self.loop = asyncio.get_running_loop()
        self.pending = bytearray()
        self.at_end = False

    def connection_made(self, chan):
        self.chan = chan

    def exec_requested(self, command):
        self.command = command
        return True

    def session_started(self):
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", self.command],
            bufsize=0,
            cwd=self.environment["HOME"] if os.path.isdir(self.environment["HOME"]) else "/",
            env=self.environment,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.stdin = self.process.stdin
        self.outputs = {self.process.stdout: None, self.process.stderr: asyncssh.EXTENDED_DATA_STDERR}
        for pipe in (self.stdin, *self.outputs):
            os.set_blocking(pipe.fileno(), False)
        Command.running.add(self)
        self.resume_writing()

    # From the client to the command.

    def data_received(self, data, datatype):
        if self.stdin:
            self.pending += data
            self.loop.add_writer(self.stdin, self.feed)
            if len(self.pending) > PENDING_MAX:
                self.chan.pause_reading()

    def eof_received(self):
        self.at_end = True
        self.feed()
        # The command may still have something to say.
        return True

    def signal_received(self, name):
        number = getattr(signal, "SIG" + name, None)
        if number and self.process.returncode is None:
            os.killpg(self.process.pid, number)

    def feed(self):
        if not self.stdin:
            return
        try:
            if self.pending:
                del self.pending[: os.write(self.stdin.fileno(), self.pending)]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            # It wants no more; what comes is thrown away.
            self.pending.clear()
            self.at_end = True
        if len(self.pending) <= PENDING_MAX:
            self.chan.resume_reading()
        if not self.pending:
            self.loop.remove_writer(self.stdin)
            if self.at_end:
                self.close_stdin()

    def close_stdin(self):
        if self.stdin:
            self.loop.remove_writer(self.stdin)
            self.stdin.close()
            self.stdin = None

    # From the command to the client.

    def pause_writing(self):
        for pipe in self.outputs:
            self.loop.remove_reader(pipe)

    def resume_writing(self):
        for pipe in self.outputs:
            self.loop.add_reader(pipe, self.drain, pipe)

    def drain(self, pipe):
        try:
            data = os.read(pipe.fileno(), READ_MAX)
        except BlockingIOError:
            return
        if data:
            self.chan.write(data, self.outputs[pipe])
        else:
            self.close_output(pipe)
            self.finish()

    def close_output(self, pipe):
        self.loop.remove_reader(pipe)
        del self.outputs[pipe]
        pipe.close()

    # The end.

    def finish(self):
        """Whoever holds the pipes open keeps the channel open, also when the command itself has ended."""
        if self.outputs or self.process.poll() is None:
            return
        Command.running.discard(self)
        self.close_stdin()
        code = self.process.returncode
        if code < 0:
            names = {number: number.name[len("SIG") :] for number in signal.Signals}
            self.chan.exit_with_signal(names.get(-code, str(-code)))
        else:
            self.chan.exit(code)

    def connection_lost(self, exc):
        if self in Command.running:
            self.close_stdin()
            for pipe in list(self.outputs):
                self.close_output(pipe)

    @staticmethod
    def child_ended():
        for command in list(Command.running):
            command.finish()


class Server(asyncssh.SSHServer):
    """Commands, for who has the key; no terminals, files or forwardings."""

    def connection_made(self, conn):
        self.conn = conn

    def auth_completed(self):
        host, port = self.conn.get_extra_info("peername")[:2]
        log(f"Accepted publickey for {self.conn.get_extra_info('username')} from {host} port {port} ssh2")

    def session_requested(self):
        peer, own = (self.conn.get_extra_info(name)[:2] for name in ("peername", "sockname"))
        return Command(environment(peer, own))


def environment(peer, own):
    user = pwd.getpwuid(os.getuid())
    return {
        "HOME": user.pw_dir,
        "LOGNAME": user.pw_name,
        # Not that of sshd, which is made for the places of its own system.
        "PATH": os.environ.get("PATH", os.defpath),
        "SHELL": "/bin/sh",
        "SSH_CLIENT": f"{peer[0]} {peer[1]} {own[1]}",
        "SSH_CONNECTION": f"{peer[0]} {peer[1]} {own[0]} {own[1]}",
        "USER": user.pw_name,
    }


async def serve(connection, host_key, authorized_keys):
    asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, Command.child_ended)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    served = await asyncssh.run_server(
        connection,
        server_factory=Server,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        encoding=None,
    )
    await served.wait_closed()


def main():
    host_key, authorized_keys, port = sys.argv[1:]
    host_key = asyncssh.read_private_key(host_key)
    authorized_keys = asyncssh.read_authorized_keys(authorized_keys)
    # The system forgets the processes of ended connections by itself.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    log(f"Server listening on 127.0.0.1 port {port}.")
    while True:
        connection, peer = listener.accept()
        log(f"Connection from {peer[0]} port {peer[1]} on 127.0.0.1 port {port}")
        if os.fork():
            connection.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            asyncio.run(serve(connection, host_key, authorized_keys))
        except (OSError, asyncssh.Error) as error:
            log(f"Connection closed by {peer[0]} port {peer[1]}: {error}")
        finally:
            # Nothing of the parent is the child's to clean up.
            os._exit(0)


main()
