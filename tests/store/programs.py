"""Starts the programs of this folder, each in a process of its own.

They are forks of one process that has imported everything: what is measured in seconds in these tests would
otherwise be the import of h5py.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent
_PRELOADED = ("committer", "limited")
_servers = []


class Program:
    """A process as `subprocess.Popen` shows it, as far as it is needed here."""

    def __init__(self, server, name, args):
        out, theirs_out = os.pipe()
        err, theirs_err = os.pipe()
        # In packets: the process may have ended before its number is read.
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps([name, *map(str, args)]).encode()
        socket.send_fds(server, [request], [theirs_out, theirs_err, theirs.fileno()])
        for descriptor in (theirs_out, theirs_err):
            os.close(descriptor)
        theirs.close()
        self.pid = int(self._channel.recv(20))
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        self.returncode = None

    def kill(self):
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def poll(self):
        """The exit status once it has ended, None before."""
        if self.returncode is None:
            self._channel.setblocking(False)
            try:
                self._take()
            except BlockingIOError:
                return None
        return self.returncode

    def communicate(self, timeout=60):
        """The rest of what it says, once it has ended."""
        out, errors = self.stdout.read(), self.stderr.read()
        if self.returncode is None:
            self._channel.settimeout(timeout)
            self._take()
        self.stdout.close()
        self.stderr.close()
        self._channel.close()
        return out, errors

    def _take(self):
        self.returncode = os.waitstatus_to_exitcode(int(self._channel.recv(20)))


def start(name, *args):
    """Starts `name`.py of this folder as `python name.py *args` would."""
    if not _servers:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PYTHONPATH": f"{HERE.parent.parent}{os.pathsep}{HERE}", "PATH": ""},
            )
        _servers.append((ours, process))
    return Program(_servers[0][0], name.removesuffix(".py"), args)


def stop():
    """Ends the process behind `start`."""
    while _servers:
        channel, process = _servers.pop()
        channel.close()
        process.wait()


def _serve(channel):
    for name in _PRELOADED:
        importlib.import_module(name)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 3)
        if not request:
            return
        # A process in between waits for the program, so that this one is free at once.
        if os.fork() == 0:
            _watch(channel, request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _watch(server, request, descriptors):
    server.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, answers = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        os.dup2(out, 1)
        os.dup2(err, 2)
        _run(*json.loads(request))
    for descriptor in (out, err):
        os.close(descriptor)
    os.write(answers, str(pid).encode())
    _, status = os.waitpid(pid, 0)
    os.write(answers, str(status).encode())
    os._exit(0)


def _run(name, *args):
    code = 1
    try:
        importlib.import_module(name).run(*args)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _serve(socket.socket(fileno=int(sys.argv[1])))
