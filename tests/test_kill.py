"""The real pipeline is killed at chosen moments, goes on each time, and ends with the same bytes."""

import re
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
import strike
from scratch import STAGES, Clone, another, ran

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a clone in /proc"),
]


class Strike(NamedTuple):
    """Who is killed in a stage's work, and when: see `strike.set_up`."""

    stage: str
    who: str
    after: str
    at: str


# Every stage is killed, and each of `who` at different kinds of moments: before the first write, between a
# write and its rename, right after a rename, before a checkpoint gets its name and after, between two
# outputs, and while DVC takes over what a stage has written.
STRIKES = [
    Strike("recipe", "stage", "", r"mkdir .*results"),
    Strike("recipe", "record", r"Popen .*stages\.recipe", r"rename .*results/recipe\.json"),
    Strike("download", "both", r"rename .*train-labels", "open .*part"),
    Strike("train_extractor", "dvc", r"rename .*/000002-", "open"),
    Strike("train_extractor", "stage", r"rename .*/extractor\.safetensors", "rename .*/extractor.json"),
    Strike("render", "both", "", r"rename .*manifest\.json"),
    Strike("label_train", "stage", r"rename .*manifest\.json", r"rename .*data/labelled'"),
    Strike("label_train", "dvc", r"rename .*data/labelled'", r"rename .*watcher\.safetensors"),
    Strike("train_gan", "stage", r"rename .*/000001-", r"rename .*/000002-"),
    Strike("train_gan", "both", r"rename .*/000007-", "remove .*/000005-"),
    Strike("train_gan", "dvc", "rename .*checks.csv", r"rename .*results/gan'"),
    Strike("train_gan", "record", r"Popen .*stages\.train_gan", r"rename .*\.dvc/cache/files/"),
    Strike("train_labeller", "both", "", "rename .*labeller.json"),
    Strike("verdict", "stage", r"rename .*gan\.json", "open"),
    Strike("generate", "dvc", r"rename .*manifest\.json", r"rename .*data/synthetic'"),
    Strike("generate", "record", r"Popen .*stages\.generate", r"open .*dvc\.lock'"),
    Strike("pretrain_real", "both", r"rename .*/000002-", "open"),
    Strike("evaluate", "stage", "rename .*quality.json", "rename"),
    Strike("audit", "both", "", "rename"),
    Strike("pretrain", "stage", r"rename .*/000003-", r"open .*/\.000004-"),
    Strike("finetune_scratch", "dvc", r"rename .*/000001-", "open"),
    Strike("finetune", "both", r"rename .*results/finetune'", ""),
    Strike("worth_real", "stage", r"rename .*/000002-", "open"),
    Strike("worth", "both", r"rename .*/000003-", "open"),
    Strike("report", "dvc", "rename", "open"),
]


# The stages that train, each by its script: all strikes in their work leave a checkpoint.
SCRIPTS = {
    "train_extractor": "train_extractor",
    "train_gan": "train_gan",
    "pretrain_real": "pretrain",
    "pretrain": "pretrain",
    "finetune_scratch": "finetune",
    "finetune": "finetune",
    "worth_real": "worth",
    "worth": "worth",
}


def struck(victim: Clone, one: Strike) -> str:
    """What `dvc repro STAGE` has said until it or its stage was killed."""
    running = victim.start("dvc", "repro", one.stage)
    said = running.communicate(timeout=200)[0]  # until the stage has ended, too
    assert said.count(strike.SAYS) == 1, (one, said)
    if one.who == "stage":
        assert running.returncode > 0
        assert re.search(r"exited with (-9|137)", said), (one, said)
    else:
        assert running.returncode == -signal.SIGKILL, (one, said)
    assert "Traceback" not in said, (one, said)
    victim.settle()
    return said


def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(
    unrun: Clone, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert {one.stage for one in STRIKES} == set(STAGES)
    victim = another(unrun, tmp_path / "Zufälle und Leerzeichen")
    undisturbed = victim.env
    unfinished: set[str] = set()
    resumed: list[str] = []
    newest: dict[str, int] = {}
    for one in STRIKES:
        victim.env = strike.set_up(tmp_path / "site", undisturbed, **one._asdict())
        said = struck(victim, one)
        assert ran(said) <= unfinished | {one.stage}
        unfinished = unfinished - ran(said) | {one.stage}
        resumed += re.findall(r"(\w+): resuming where it was cut off", said)
        if kept := list(victim.path.glob(f".checkpoints/{one.stage}/*/*.safetensors")):
            newest[one.stage] = max(int(path.name[:6]) for path in kept)
    victim.env = undisturbed
    # A checkpoint before each of 3 and of 20 steps, and one more each time that a run goes on from the last.
    assert (newest["train_extractor"], newest["train_gan"]) == (3 + 1, 20 + 2)

    # DVC killed while it wrote this file: no change of a name tells when.
    (victim.path / ".dvc/tmp/rwlock").write_text("{")
    assert "Unable to read RWLock-file" in victim.run("dvc", "repro", ok=False)
    assert "removed .dvc/tmp/rwlock" in victim.run("python", "-m", "stages.recover")
    assert not list(victim.path.rglob(".*.part"))

    said = victim.run("dvc", "repro")
    assert ran(said) <= unfinished
    resumed += re.findall(r"(\w+): resuming where it was cut off", said)
    assert ran(victim.run("dvc", "repro")) == set()
    # Not asked for earlier: another worker may have been at it.
    assert victim.results() == request.getfixturevalue("finished").results()
    expected = [SCRIPTS[one.stage] for one in STRIKES if one.stage in SCRIPTS and one.who != "record"]
    assert sorted(resumed) == sorted(expected)
    assert not list((victim.path / ".checkpoints").rglob("*.safetensors"))
    who = dict(Counter(one.who for one in STRIKES))
    print(f"killed {len(STRIKES)} times, {who}; {len(resumed)} times it went on from a checkpoint")
