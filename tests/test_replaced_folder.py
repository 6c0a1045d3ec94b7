"""A bundle that is replaced: killed at any moment, the old or the new one is whole, and the next call finds and tidies up."""

import json
import subprocess
import sys

import pytest

KILLED_EVERYWHERE = '''
import json
import os
import signal
import sys
from pathlib import Path

from isac_torch.deployment.bundle import is_bundle
from isac_torch.deployment.card import ARCHIVE, CARD, FORMAT, ONNX
from isac_torch.files import replaced_folder

os.fsync = lambda _: None  # a killed process loses no writes
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}


def fill(folder, which):
    for name in (ONNX, ARCHIVE):
        (folder / name).write_text(which * 1000)
    (folder / CARD).write_text(json.dumps({"format": FORMAT, "network": which}))


def whole(folder):
    """The bundle that a folder holds: old, new, or nothing."""
    if not is_bundle(folder) or len(list(folder.iterdir())) < 3:
        return ""
    which = json.loads((folder / CARD).read_text())["network"]
    return which if all((folder / name).read_text() == which * 1000 for name in (ONNX, ARCHIVE)) else ""


def replace(target):
    with replaced_folder(target, is_bundle, "a bundle") as folder:
        fill(folder, "new")


def killed_at(target, moment):
    """Replace in a process that is killed just before its call number `moment` to the file system. Whether it was."""
    child = os.fork()
    if child == 0:
        left = [moment]

        def hook(event, arguments):
            if event in EVENTS:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        replace(target)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)


root, before = Path(sys.argv[1]), json.loads(sys.argv[2])
found = []
for moment in range(1, 200):
    target = root / str(moment) / "bundle"
    target.parent.mkdir()
    if before:
        target.mkdir()
        fill(target, "old")
    killed = killed_at(target, moment)
    under_its_name = whole(target)
    anywhere = sorted(filter(None, map(whole, target.parent.iterdir())))
    broken = target.exists() and not under_its_name
    replace(target)
    left = sorted(path.name for path in target.parent.iterdir())
    found.append([killed, under_its_name, anywhere, broken, whole(target), left])
    if not killed:
        break
print(json.dumps(found))
'''


@pytest.mark.parametrize("before", [True, False], ids=["old", "none"])
def test_killed_at_every_call_to_the_file_system_one_bundle_is_whole(tmp_path, before):
    run = subprocess.run(
        [sys.executable, "-c", KILLED_EVERYWHERE, str(tmp_path), json.dumps(before)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    moments = json.loads(run.stdout)
    assert not moments[-1][0]  # the last one was not killed: every moment was tried
    assert len(moments) > 6
    for killed, under_its_name, anywhere, broken, after, left in moments:
        assert not broken  # what stands under the name is a whole bundle
        if before:
            assert anywhere  # the old or the new one is there
        if not killed:
            assert under_its_name == "new"
        assert after == "new"
        assert left == ["bundle"]  # nothing is left of the killed call
