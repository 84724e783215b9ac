"""Nearest-neighbour index: exact results, recall of the approximate one, and optional Faiss."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from chorale.search.champion.library.index import RECALL, ExactIndex, InvertedFileIndex, index_of


def vectors(n: int, *, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((40, 32))
    found = centres[rng.integers(0, 40, n)] + 0.7 * rng.standard_normal((n, 32))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("n", [0, 1, 3, 50, 80])
def test_exact_finds_what_sorting_finds(n: int) -> None:
    embeddings = vectors(50)
    rows, cosines = ExactIndex(embeddings).nearest(embeddings[7], n)
    expected = np.argsort(-(embeddings @ embeddings[7]), kind="stable")[:n]
    assert rows.tolist() == expected.tolist()
    assert cosines == pytest.approx((embeddings @ embeddings[7])[expected])


def test_the_inverted_file_index_reaches_its_recall_for_unseen_queries() -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (pip install '.[library]')")
    embeddings = vectors(20_000)
    approximate, exact = InvertedFileIndex(embeddings), ExactIndex(embeddings)
    recalls = [
        len({*approximate.nearest(query, 10)[0]} & {*exact.nearest(query, 10)[0]}) / 10
        for query in vectors(100, seed=1)
    ]
    assert approximate.recall >= RECALL
    assert np.mean(recalls) >= RECALL - 0.05
    assert approximate.probed < 141  # there are 141 cells, so not all are searched
    rows, cosines = approximate.nearest(embeddings[5], 1)
    assert rows.tolist() == [5]
    assert cosines == pytest.approx([1], abs=1e-5)


def test_few_embeddings_and_a_missing_faiss_use_the_exact_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (pip install '.[library]')")
    embeddings = vectors(2_000)
    assert isinstance(index_of(embeddings, exact_below=2_000), InvertedFileIndex)
    assert isinstance(index_of(embeddings), ExactIndex)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert isinstance(index_of(embeddings, exact_below=2_000), ExactIndex)


PROGRAM = """
import faiss, numpy as np, torch
from chorale.search.champion.library.index import InvertedFileIndex
embeddings = np.random.default_rng(0).standard_normal((3000, 32)).astype(np.float32)
embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
before = faiss.omp_get_max_threads(), torch.get_num_threads()
index = InvertedFileIndex(embeddings)
a = torch.from_numpy(embeddings)
torch.mm(a, a.T)
print(index.nearest(embeddings[9], 1)[0][0], float((a[9] @ a[9]).round(decimals=3)))
assert (faiss.omp_get_max_threads(), torch.get_num_threads()) == before
"""


def test_faiss_works_in_a_process_that_imported_torch(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (pip install '.[library]')")
    exec(PROGRAM, {})  # this process has imported torch
    assert capsys.readouterr().out.split() == ["9", "1.0"]


def test_torch_works_in_a_process_that_imported_faiss() -> None:
    pytest.importorskip("faiss", reason="faiss is not installed (pip install '.[library]')")
    words = [sys.executable, "-c", PROGRAM]  # it imports faiss first
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["9", "1.0"]
