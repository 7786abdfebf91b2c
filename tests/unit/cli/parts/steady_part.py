"""Stands for a service: says that it is up, and on SIGTERM adds its name to the file STOPPED and ends."""

import os
import signal
import sys
from pathlib import Path

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
sys.stderr.write("up\n")
signal.sigwait([signal.SIGTERM])
with Path(os.environ["STOPPED"]).open("a") as stopped:
    stopped.write(os.environ["NAME"] + "\n")
