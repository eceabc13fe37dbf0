"""Memory of a GPU that is too small, without one: the work raises torch's error itself."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from meltpoint.compute import Compute, is_out_of_memory
from meltpoint.errors import MeltpointError
from meltpoint.workflow.out_of_memory import within_memory

torch = pytest.importorskip("torch")
from meltpoint.checkpoints.io import Reader  # noqa: E402
from meltpoint.compression import walk_state  # noqa: E402
from meltpoint.compression.walk_state import WalkStates  # noqa: E402
from meltpoint.model.running import running  # noqa: E402

AUTO = {"cpu": 2048, "cuda": 16384}


class Work:
    """Work on windows of 512 tokens that fits from some size on, or streamed alone, or never."""

    error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def __init__(self, fits: int = 0, streamed: bool = False, streams: bool = True):
        self.fits, self.streamed, self.streams, self.tries = fits, streamed, streams, []

    def __call__(self, settings: Compute) -> None:
        if settings.stream is True and not self.streams:
            raise MeltpointError("this cannot be streamed")
        self.tries.append((settings.batch_size(512, AUTO), settings.stream))
        enough = self.streamed if settings.stream is True else self.tries[-1][0] <= self.fits
        if not enough:
            raise self.error


def tries(work, streams=True, **compute):
    within_memory(work, Compute(**{"device": "cuda", **compute}), streams)
    return work.tries


def test_work_that_fits_is_done_once():
    assert tries(Work(fits=32)) == [(32, "auto")]


def test_the_batch_is_halved_until_it_fits():
    assert [size for size, _ in tries(Work(fits=5))] == [32, 16, 8, 4]
    assert [size for size, _ in tries(Work(fits=1), batch=6)] == [6, 3, 1]


def test_a_library_of_cuda_without_memory_is_known_by_its_words(tmp_path):
    work = Work(fits=16)
    work.error = RuntimeError(
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    )
    assert [size for size, _ in tries(work)] == [32, 16]
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    with pytest.raises(RuntimeError), running(torch.nn.Identity(), tmp_path):
        raise work.error


def test_a_packed_weight_that_finds_no_memory_is_not_broken(tmp_path, monkeypatch):
    """Nor is the state of a walk, which would be deleted."""
    reader = object.__new__(Reader)
    reader.folder, reader.format = tmp_path, SimpleNamespace(decode=Work())
    with pytest.raises(torch.OutOfMemoryError):
        reader._with_format("weight", "decode", Compute(device="cuda"))
    states = WalkStates(tmp_path, Compute(device="cuda"), {})
    monkeypatch.setattr(walk_state, "read_classes", lambda _: Work()(Compute(device="cuda")))
    with pytest.raises(torch.OutOfMemoryError):
        states.read(None)
    assert tmp_path.exists()


def test_a_model_that_does_not_fit_with_one_window_is_streamed():
    assert tries(Work(streamed=True), batch=2) == [(2, "auto"), (1, "auto"), (1, True)]


@pytest.mark.parametrize("streams", [True, False])
def test_one_sentence_says_what_was_tried(streams):
    work = Work(streams=streams)
    with pytest.raises(MeltpointError) as error:
        tries(work, streams=True, batch=2)
    text = str(error.value)
    assert text.startswith("out of memory on cuda")
    assert "tried: batches of 2 windows; batches of 1 window" in text
    assert ("streamed block by block" in text) == streams
    assert "\n" not in text


def test_another_error_is_not_for_a_smaller_batch():
    def broken(settings):
        raise MeltpointError("the checkpoint is broken")

    with pytest.raises(MeltpointError, match=r"^the checkpoint is broken$"):
        within_memory(broken, Compute(device="cuda"), True)


def test_a_compression_is_the_same_in_smaller_batches(untouched, tmp_path, monkeypatch):
    """The walk runs out of memory on more than one window; the device that it claims is fake."""
    from meltpoint.model.block_walk import Walk
    from meltpoint.workflow import out_of_memory
    from tests.support.bench import Bench

    bench = Bench(untouched.copy(tmp_path / "bench").folder)
    monkeypatch.chdir(bench.folder)
    bench.link()
    bench.tokens("prose")
    whole = bench.compress("wanda@0.5")
    before = {f.name: f.read_bytes() for f in whole.iterdir()}
    forward, refused = Walk.forward, []

    def small(self, index, batch, *args, **kwargs):
        if batch.stop - batch.start > 1:
            refused.append(batch)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, index, batch, *args, **kwargs)

    monkeypatch.setattr(Walk, "forward", small)
    sizes = [Compute(device="cpu", batch=batch) for batch in (4, 2, 1)]
    monkeypatch.setattr(out_of_memory, "smaller", lambda *_: iter(sizes))

    def work(settings):
        monkeypatch.setattr("tests.support.bench.COMPUTE", replace(settings))
        bench.compress("wanda@0.5")

    within_memory(work, sizes[0], False)
    assert len(refused) == 2
    assert {f.name: f.read_bytes() for f in whole.iterdir()} == before
