"""Ctrl-C: said once, blocked in what workers inherit, and never in the thread that waits."""

import signal
import subprocess
import sys
import threading

import pytest

from isac_torch.interruption import CODE, Interruption, without_interrupts

ASK = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"


def test_processes_started_there_do_not_hear_of_it():
    def started() -> str:
        return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True).stdout.strip()

    assert started() == "False"
    assert without_interrupts(started) == "True"
    assert started() == "False", "this thread is as it was"


def test_errors_come_through():
    with pytest.raises(KeyError, match="inside"):
        without_interrupts(lambda: dict[str, int]()["inside"])


def test_who_waits_can_be_interrupted():
    gate = threading.Event()
    timer = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            without_interrupts(lambda: gate.wait(20.0))
    finally:
        gate.set()
        signal.signal(signal.SIGINT, before)


def test_the_line_is_said_once(capsys):
    one = Interruption()
    assert one.announce("the checkpoint is kept") == CODE
    assert one.announce() == CODE
    assert capsys.readouterr().err == "isac-torch: interrupted; the checkpoint is kept\n"
