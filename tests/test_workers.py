"""Rollouts by actors of Ray are those of a policy in this process, whatever becomes of an actor."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lookless import workers as module
from lookless.episode import Mode, Question, Rollout
from lookless.errors import CheckpointError, ConfigError, ImageError, PolicyError
from lookless.images import SourceCache
from lookless.lookworld.base import new_base
from lookless.policies.hf import HfPolicy
from lookless.rollout import Limits, rollout
from lookless.training.ranks import Ranks
from lookless.vlm import VLM
from lookless.workers import PolicySpec, Request, Synchronised, Traffic, Workers, WorkerSettings
from training import worker
from training.test_distributed import free_port

ray = pytest.importorskip("ray")
# Workers cannot import a test.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

MakeQuestion = Callable[..., Question]
Groups = list[list[Request]]
LIMITS = Limits(max_turn_tokens=9)
TWO = WorkerSettings(count=2, cpus=0.5)
ONE = WorkerSettings(count=1, cpus=0.5)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Keep one cluster for all tests: it takes seconds to start."""
    ray.init("local", include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(vlm: VLM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("checkpoint")
    vlm.save(place)
    return place


@pytest.fixture(scope="module")
def groups(make_question: MakeQuestion) -> Groups:
    """Return groups of unequal size, two of them of the same question."""
    modes = (Mode.FORCED, Mode.PROHIBITED, Mode.ADAPTIVE, Mode.ADAPTIVE)
    asked = [make_question(name) for name in ("a", "b", "c", "d", "a")]
    return [[(question, mode) for mode in modes[k % 3 :]] for k, question in enumerate(asked)]


def by_policy(policy: HfPolicy, groups: Groups) -> list[Rollout]:
    """Return what a policy in this process makes of groups, all in one batch."""
    return rollout(policy, [one for group in groups for one in group], SourceCache(), LIMITS)


def assert_same(ours: Sequence[Rollout], theirs: Sequence[Rollout]) -> None:
    """Check that rollouts agree in all but the time they took, and rounding."""
    for one, other in zip(ours, theirs, strict=True):
        assert other.logprobs == pytest.approx(one.logprobs, abs=1e-4)
        timeless = replace(other, logprobs=one.logprobs, seconds=one.seconds, latency=one.latency)
        assert timeless == one


def fresh() -> dict[str, str]:
    """Return the environment without what Ray has left in it for children of this process."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def once(flag: Path) -> bool:
    """Return whether nobody has asked before."""
    try:
        flag.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def mishap(folder: Path, what: Callable[[], object]) -> Callable[[], Synchronised]:
    """Return a maker of policies to which something happens in the middle of each batch."""

    class Unlucky(HfPolicy):
        def start(self, prompts: Any) -> Any:
            session = super().start(prompts)
            what()
            return session

    def build() -> Synchronised:
        policy = PolicySpec(folder).build()
        assert isinstance(policy, HfPolicy)
        return Unlucky(policy.vlm, policy.temperature)

    return build


def killed(flag: Path | None) -> Callable[[], None]:
    """Return what kills its process: only the first, if there is a flag."""

    def kill() -> None:
        if flag is None or once(flag):
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_two_workers_make_the_rollouts_that_a_policy_here_makes(
    vlm: VLM, folder: Path, groups: Groups, temperature: float
) -> None:
    expected = by_policy(HfPolicy(vlm, temperature, seed=5), groups)
    spec = PolicySpec(folder, temperature=temperature)
    with Workers.start(spec.build, TWO, f"same {temperature}") as workers:
        assert_same(expected, workers.roll_out(groups, LIMITS, 5))
        spent = workers.traffic()
        assert spent.requests_bytes > 100 * len(expected)
        assert spent.rollouts_bytes > 1000 * len(expected)
        assert (spent.weights_bytes, spent.redone_groups, spent.restarts) == (0, 0, 0)
        assert workers.traffic() == Traffic()
        again = workers.roll_out(groups[1:2], LIMITS, 5, samples=[7] * 3)
        alone = rollout(HfPolicy(vlm, temperature, 5), groups[1], SourceCache(), LIMITS, [7] * 3)
        assert_same(alone, again)
        assert workers.roll_out([], LIMITS, 5) == []


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_published_weights_make_the_next_rollouts(
    own_vlm: VLM, folder: Path, groups: Groups, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUCKET_BYTES", 1 << 20)
    policy = HfPolicy(own_vlm, seed=5)
    with Workers.start(PolicySpec(folder).build, TWO, f"weights {dtype}") as workers:
        first = workers.roll_out(groups, LIMITS, 5)
        for version in (1, 2):
            other = new_base(version).model.state_dict()
            weights = {name: weight.to(dtype) for name, weight in other.items()}
            policy.load_weights(weights.items())
            expected = by_policy(policy, groups)
            workers.publish(version, weights.items())
            assert_same(expected, workers.roll_out(groups, LIMITS, 5, version))
            assert [r.token_ids for r in expected] != [r.token_ids for r in first]
            size = sum(weight.nbytes for weight in weights.values())
            assert size > 4 << 20  # several buckets
            assert workers.traffic().weights_bytes == size


@pytest.mark.usefixtures("cluster")
def test_rollouts_of_other_weights_than_those_asked_for_are_refused(
    vlm: VLM, folder: Path, groups: Groups
) -> None:
    """Such as if the first process publishes while another still collects."""
    with Workers.start(PolicySpec(folder).build, ONE, "stale") as workers:
        with pytest.raises(PolicyError, match="of version 1, got 0; ask for the version"):
            workers.roll_out(groups, LIMITS, 5, 1)
        workers.publish(2, vlm.model.state_dict().items())
        for version in (1, 3, 0):
            with pytest.raises(PolicyError, match=f"of version {version}, got 2; ask for the ver"):
                workers.roll_out(groups, LIMITS, 5, version)
        workers.roll_out(groups, LIMITS, 5, 2)


@pytest.mark.usefixtures("cluster")
def test_groups_of_a_killed_worker_are_redone(
    vlm: VLM, folder: Path, groups: Groups, tmp_path: Path
) -> None:
    expected = by_policy(HfPolicy(vlm, seed=5), groups)
    build = mishap(folder, killed(tmp_path / "flag"))
    with Workers.start(build, TWO, "killed") as workers:
        assert_same(expected, workers.roll_out(groups, LIMITS, 5))
        assert workers.traffic().redone_groups in (1, 2)  # a quarter of what was left
        assert_same(expected, workers.roll_out(groups, LIMITS, 5))
        assert workers.traffic().redone_groups == 0


@pytest.mark.usefixtures("cluster")
def test_restarted_worker_has_the_newest_weights(
    own_vlm: VLM, folder: Path, groups: Groups, tmp_path: Path
) -> None:
    weights = new_base(1).model.state_dict()
    policy = HfPolicy(own_vlm, seed=5)
    policy.load_weights(weights.items())
    build = mishap(folder, killed(tmp_path / "flag"))
    with Workers.start(build, ONE, "restarted") as workers:
        workers.publish(1, weights.items())
        assert_same(by_policy(policy, groups), workers.roll_out(groups, LIMITS, 5, 1))
        spent = workers.traffic()
        assert (spent.redone_groups, spent.restarts) == (3, 1)


@pytest.mark.usefixtures("cluster")
def test_worker_killed_between_two_batches_is_started_again(
    vlm: VLM, folder: Path, groups: Groups, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    build = mishap(folder, lambda: pid.write_text(str(os.getpid())))
    with Workers.start(build, ONE, "idle") as workers:
        workers.roll_out(groups, LIMITS, 5)
        first = pid.read_text()
        os.kill(int(first), signal.SIGKILL)
        assert_same(by_policy(HfPolicy(vlm, seed=5), groups), workers.roll_out(groups, LIMITS, 5))
        assert pid.read_text() != first


@pytest.mark.usefixtures("cluster")
def test_without_a_worker_left_it_is_an_error(folder: Path, groups: Groups) -> None:
    settings = TWO.model_copy(update={"restarts": 0})
    with Workers.start(mishap(folder, killed(None)), settings, "all killed") as workers:
        for _ in range(2):
            with pytest.raises(PolicyError, match="at least one rollout worker must live, got no"):
                workers.roll_out(groups, LIMITS, 5)


@pytest.mark.usefixtures("cluster")
def test_hanging_worker_is_killed_and_its_groups_are_redone(
    vlm: VLM, folder: Path, groups: Groups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang() -> None:
        if (tmp_path / "now").exists() and once(tmp_path / "flag"):
            time.sleep(600)

    with Workers.start(mishap(folder, hang), TWO, "hanging") as workers:
        expected = workers.roll_out(groups, LIMITS, 5)  # both have started
        (tmp_path / "now").touch()
        monkeypatch.setattr(workers, "_timeout_s", 8.0)
        assert_same(expected, workers.roll_out(groups, LIMITS, 5))
        assert workers.traffic().redone_groups in (1, 2)


@pytest.mark.usefixtures("cluster")
def test_worker_that_never_starts_is_given_up(groups: Groups) -> None:
    settings = ONE.model_copy(update={"timeout_s": 2.0})

    def build() -> Synchronised:
        time.sleep(600)
        raise AssertionError

    with (
        Workers.start(build, settings, "never") as workers,
        pytest.raises(PolicyError, match="the last: it took longer than 2 s"),
    ):
        workers.roll_out(groups, LIMITS, 5)


@pytest.mark.usefixtures("cluster")
def test_image_that_cannot_be_opened_is_said_as_it_is_here(
    vlm: VLM, folder: Path, groups: Groups, tmp_path: Path
) -> None:
    missing = replace(groups[0][0][0], id="missing", image=tmp_path / "missing.png")
    with Workers.start(PolicySpec(folder).build, TWO, "image") as workers:
        with pytest.raises(ImageError, match=r"missing\.png") as said:
            workers.roll_out([*groups, [(missing, Mode.FORCED)]], LIMITS, 5)
        assert type(said.value) is ImageError
        assert_same(by_policy(HfPolicy(vlm, seed=5), groups), workers.roll_out(groups, LIMITS, 5))
        assert workers.traffic().restarts == 0


@pytest.mark.usefixtures("cluster")
def test_bad_checkpoint_is_said_as_it_is_here(groups: Groups, tmp_path: Path) -> None:
    with Workers.start(PolicySpec(tmp_path).build, ONE, "checkpoint") as workers:
        for _ in range(2):
            with pytest.raises(CheckpointError, match="must be a folder with config") as said:
                workers.roll_out(groups, LIMITS, 5)
            assert type(said.value) is CheckpointError


@pytest.mark.usefixtures("cluster")
def test_another_process_joins_by_name(vlm: VLM, folder: Path, groups: Groups) -> None:
    """It publishes nothing, and has workers of its own."""
    code = """
import pickle, sys
from lookless.workers import Workers
address, name, *asked = pickle.load(sys.stdin.buffer)
with Workers.join(address, name, asked.pop(), 1, 2) as workers:
    made = workers.roll_out(*asked)
sys.stdout.buffer.write(pickle.dumps(made))
"""
    with Workers.start(PolicySpec(folder).build, TWO, "joined", world=2) as workers:
        workers.publish(1, vlm.model.state_dict().items())
        asked = (workers.address, "joined", groups, LIMITS, 5, 1, TWO)
        done = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(asked), capture_output=True,
            timeout=300, env=fresh(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        expected = by_policy(HfPolicy(vlm, seed=5), groups)
        assert_same(expected, pickle.loads(done.stdout))
        assert_same(expected, workers.roll_out(groups, LIMITS, 5, 1))  # they outlive the other
        with pytest.raises(ConfigError, match="workers of 'nobody' must run, got none"):
            Workers.join(workers.address, "nobody", TWO, 1, 2)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999", "auto"])
def test_address_without_a_cluster_is_an_error(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(ray, "init", refuse)
    settings = TWO.model_copy(update={"address": address})
    with pytest.raises(ConfigError, match=f"of a running Ray cluster, got '{address}'"):
        Workers.start(PolicySpec(folder).build, settings, "nowhere")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("changes", [{"count": 9999}, {"gpus": 999}])
def test_more_workers_than_the_cluster_can_hold_are_an_error(
    folder: Path, changes: dict[str, float]
) -> None:
    with pytest.raises(ConfigError, match="workers must fit the cluster's"):
        Workers.start(PolicySpec(folder).build, TWO.model_copy(update=changes), "large")


def test_missing_package_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'lookless\[ray\]'"):
        Workers.start(PolicySpec(folder).build, TWO, "missing")


def test_cluster_of_its_own_ends_with_the_workers_and_says_nothing(
    folder: Path, groups: Groups
) -> None:
    code = """
import pickle, sys
import ray
from lookless.workers import PolicySpec, Workers
folder, settings, *asked = pickle.load(sys.stdin.buffer)
with Workers.start(PolicySpec(folder).build, settings, "own") as workers:
    assert ray.is_initialized()
    workers.roll_out(*asked)
assert not ray.is_initialized()
workers.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((folder, TWO, groups, LIMITS, 5)),
        capture_output=True, timeout=300, env=fresh(),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 5, dtype=torch.bfloat16),
        torch.randn(4, 6).T,
        torch.randn(4, 6)[:, ::2],
        torch.tensor(7),
        torch.empty(0, 3),
        torch.tensor([True, False]),
    ],
)
def test_tensors_survive_being_packed(tensor: Tensor) -> None:
    [[packed]] = module._buckets([("weight", tensor)], limit=1)
    found = pickle.loads(pickle.dumps(packed, protocol=5))
    assert found.name == "weight"
    assert found.tensor().dtype == tensor.dtype
    assert torch.equal(found.tensor(), tensor)


def test_buckets_hold_no_more_than_the_limit_but_for_a_larger_tensor() -> None:
    weights = [(f"{size}", torch.zeros(size, dtype=torch.uint8)) for size in (3, 4, 4, 20, 1, 9)]
    found = [[packed.name for packed in one] for one in module._buckets(weights, limit=10)]
    assert found == [["3", "4"], ["4"], ["20"], ["1", "9"]]


def test_chunks_shrink_and_what_is_put_back_comes_first() -> None:
    batch = module._Batch([[]] * 9, [], LIMITS, 0, 0)
    assert batch.take(2) == [0, 1, 2]
    assert batch.take(2) == [3, 4]
    batch.put_back([0, 1, 2])
    assert batch.take(2) == [0, 1]
    taken = [batch.take(2) for _ in range(6)]
    assert taken == [[2, 5], [6], [7], [8], [], []]


def test_two_training_processes_on_two_workers_compute_what_one_does_alone(
    folder: Path, tmp_path: Path
) -> None:
    steps = 3
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    worker.train(Ranks(), one, "rl", steps)
    script = tmp_path / "train.py"
    script.write_text(
        """
import sys
from pathlib import Path
import torch
from lookless.training.collector import OnWorkers
from lookless.training.ranks import Ranks
from lookless.workers import PolicySpec, Workers, WorkerSettings
from training import worker
torch.set_num_threads(1)
folder, checkpoint, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
settings = WorkerSettings(count=2, cpus=0.5)
ranks = Ranks.join()
if ranks.is_first:
    workers = Workers.start(PolicySpec(checkpoint).build, settings, "rl", ranks.world)
    ranks.gather(workers.address)
else:
    workers = Workers.join(ranks.gather("")[0], "rl", settings, ranks.rank, ranks.world)
with workers:
    worker.OwnWeights = lambda policy, sources, limits: OnWorkers(workers, limits)
    worker.train(ranks, folder, "rl", steps)
    ranks.wait()
ranks.leave()
ranks.finish()
"""
    )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--master-port", str(free_port()), str(script)]
    tests = str(Path(__file__).parent)
    done = subprocess.run(
        [*launcher, str(two), str(folder), str(steps)], capture_output=True, text=True, timeout=300,
        env=fresh() | {"OMP_NUM_THREADS": "1", "PYTHONPATH": tests},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [
        [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
        for place in (one, two)
    ]
    assert len(rows[0]) == len(rows[1]) == steps
    for a, b in zip(*rows, strict=True):
        kept = [name for name in a if not name.startswith("time/")]
        assert {name: b[name] for name in kept} == pytest.approx(
            {name: a[name] for name in kept}, rel=1e-3, abs=1e-5
        )
    first, second = (torch.load(place / "weights.pt") for place in (one, two))
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=2e-4, msg=name)
