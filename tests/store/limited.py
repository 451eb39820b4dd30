"""Run by `programs`: commits under a limit on file sizes, or as another user; prints what happened.

start("limited.py", STORE, "limit", BYTES) or start("limited.py", STORE, "user")
"""

import os
import resource
import signal
import sys

from committer import clusters, pairs
from samples import FINGERPRINT, numbered, store_at

from facededup.errors import FacededupError


def limit(path, size):
    sys.dont_write_bytecode = True  # Python would leave truncated files in its packages
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))
    try:
        with store_at(path).writer(FINGERPRINT) as writer:
            for number in range(100, 140):
                writer.commit(numbered(number))
                print(number, flush=True)
            findings = writer.write_findings()
            for number in range(300):
                findings.append(pairs(number))
            for block in findings.chunks():
                assert len(block)
            findings.finish({}, clusters(1))
    except FacededupError as exc:
        print(type(exc).__name__, exc)
        try:
            writer.commit(numbered(999))
        except (FacededupError, UnboundLocalError) as again:
            print(type(again).__name__, again)


def user(path):
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        with store_at(path).writer(FINGERPRINT) as writer:
            writer.commit(numbered(0))
    except FacededupError as exc:
        print(type(exc).__name__, exc)


def run(path, what, *args):
    {"limit": limit, "user": user}[what](path, *args)
