"""The end of a compression: each variant timed, one chosen, the test set looked at once, a bundle.

`search.champion.compress.run` comes here when all students are trained. What is chosen goes by
out-of-fold figures, before the test set is opened.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chorale.datasets.atomic import write_json
from chorale.datasets.audio import AudioError
from chorale.datasets.errors import UserError
from chorale.search.bundle.single_network import One, Sureness, sureness, write_one
from chorale.search.champion.compress.card import headline, student_card
from chorale.search.champion.compress.graphs import Networks, graph_variants
from chorale.search.champion.compress.student import Said, Students
from chorale.search.champion.compress.variants import Variant, choose, lines
from chorale.search.champion.pack.pack import Packed, pack
from chorale.search.combining.base import Model
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import Prepared, truth_of
from chorale.search.evaluation.headline import read_headline
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger.ground_truth import Truth, write_truth
from chorale.search.statistics.arrays import Proba
from chorale.search.statistics.calibration import calibrate
from chorale.search.training import latency

ENSEMBLE, SINGLE, STUDENT, PRUNED = "ensemble", "best single", "student", "student, pruned"


@dataclass(frozen=True)
class Wanted:
    """What is asked for: the ensemble of which study, in how many milliseconds, after how many
    trials, as a bundle where.
    """

    packed: Packed
    target_ms: float
    trials: int
    to: Path | None = None


@dataclass
class Ending:
    """What comes after the training."""

    wanted: Wanted
    students: Students
    prepared: Prepared
    progress: Progress
    number: int
    left_out: list[str]

    def __post_init__(self) -> None:
        self.sweep = self.students.sweep
        self.truth: Truth = truth_of(self.prepared)
        ids = self.prepared.split.development_ids
        self.labels, self.groups = self.truth.labels(ids), self.truth.groups(ids)

    def end(self, made: Mapping[str, Said]) -> dict[str, Any]:
        """Times, chooses, looks, writes."""
        write_truth(self.sweep.paths, self.truth)
        write_json(self.sweep.paths.split_json, self.prepared.split.to_json())
        sure = {name: self._sureness(said.out_of_fold) for name, said in made.items()}
        with tempfile.TemporaryDirectory() as scratch:
            variants = self._earlier(Path(scratch))
            for name, said in made.items():
                variants.append(self._variant(name, said, sure[name], Path(scratch) / name))
                self._tell(variants[-1])
        chosen = choose(variants, self.labels, limit_ms=self.wanted.target_ms)
        if chosen is None:
            fastest = min(v.latency.processor_ms for v in variants)
            raise UserError(
                f"no variant keeps to {self.wanted.target_ms:g} ms now; the fastest took "
                f"{fastest:.1f} ms; type the same again when the machine is less busy, or give "
                f"more time: --target-ms {np.ceil(1.2 * fastest):g}"
            )
        base = chosen.name if chosen.name in made else STUDENT
        variants += self._graphs(made[base], base, sure[base])
        return self._look(variants, chosen, made, sure)

    def _sureness(self, out_of_fold: Proba) -> Sureness:
        return sureness(
            out_of_fold,
            self.labels,
            self.groups,
            coverage=self.sweep.ensemble.coverage,
            seed=self.sweep.search.seed,
        )

    def _tell(self, one: Variant) -> None:
        self.progress.stage("latency", f"{one.name}: {one.latency.processor_ms:.1f} ms")

    def _earlier(self, scratch: Path) -> list[Variant]:
        """The ensemble, and its best member."""
        packed = self.wanted.packed
        said = read_headline(packed.sweep.paths, self.truth)
        if said is None:
            raise UserError(
                f"study '{packed.sweep.name}' keeps nothing of what its ensemble said; make it "
                f"anew: chorale ensemble {packed.sweep.name}"
            )
        found = [self._timed(ENSEMBLE, packed, said.out_of_fold, said.test, scratch)]
        member = self._best_member()
        alone = self._single(member)
        one = self._timed(SINGLE, alone, member.out_of_fold, member.test, scratch)
        found.append(replace(one, can_be_chosen=True))
        return found

    def _best_member(self) -> Member:
        packed = self.wanted.packed
        single = packed.report["best_single"]["members"][0]
        paths, split = packed.sweep.paths, self.prepared.split
        return read_member(paths, split, single, packed.jobs(single))

    def _single(self, member: Member) -> Packed:
        """The best member as an ensemble of one, as sure as it alone may be."""
        packed = self.wanted.packed
        report, kinds = packed.report, dict(zip(packed.members, packed.architectures, strict=True))
        sure = self._sureness(member.out_of_fold)
        single = int(member.name)
        return replace(
            packed,
            report={
                **report,
                "ensemble": report["best_single"],
                "calibration": {"temperature": sure.temperature},
                "conformal": {**report["conformal"], "least_proba": sure.least_proba},
            },
            model=Model(np.ones(1)),
            members=(single,),
            architectures=(kinds.get(single, ""),),
        )

    def _timed(
        self, name: str, packed: Packed, out_of_fold: Proba, test: Proba, scratch: Path
    ) -> Variant:
        bundle = pack(packed, scratch / name)
        n = len(bundle.manifest.networks)
        found = Variant(
            name,
            out_of_fold,
            test,
            latency.of_bundle(scratch / name),
            _size_mb(scratch / name),
            f"{n} networks of {bundle.manifest.said}",
        )
        self._tell(found)
        return found

    def _variant(self, name: str, said: Said, sure: Sureness, to: Path) -> Variant:
        weights = self.students.weights(said.jobs[-1], pruned=name == PRUNED)
        write_one(to, One("student", weights, sure))
        what = f"{self.students.architecture(self.number)}, trial {self.number}"
        return Variant(
            name,
            said.out_of_fold,
            said.test,
            latency.of_bundle(to),
            _size_mb(to),
            what if name == STUDENT else f"{what}, half as wide",
            can_be_chosen=True,
        )

    def _graphs(self, said: Said, base: str, sure: Sureness) -> list[Variant]:
        """The ONNX graphs of the chosen student; none, and a line, where there cannot be any."""
        folders = [self.students.weights(job, pruned=base == PRUNED) for job in said.jobs]
        paths = self.sweep.paths
        try:
            return graph_variants(
                Networks(folders[:-1], folders[-1]),
                self.prepared,
                sure,
                calibrate(said.test, sure.temperature),
                to=(paths.graph(base.replace(", ", "-")), paths.graph("int8")),
                tell=partial(self.progress.stage, "graphs"),
            )
        except (UserError, AudioError) as error:
            self.left_out.append(f"ONNX: left out: {error}")
            return []

    def _look(
        self,
        variants: Sequence[Variant],
        chosen: Variant,
        made: Mapping[str, Said],
        sure: Mapping[str, Sureness],
    ) -> dict[str, Any]:
        """The one look at the test set, and what is kept of it."""
        split, sweep = self.prepared.split, self.sweep
        looks = self.students.ledger.look(sweep.name, split.hash)
        ids = split.test_ids
        found: dict[str, Any] = {
            "study": sweep.name,
            "teacher": self.wanted.packed.sweep.name,
            "target_ms": self.wanted.target_ms,
            "trials": self.wanted.trials,
            "chosen": chosen.name,
            "test_looks": looks,
            "left_out": self.left_out,
            "fits": chosen.latency.p50_ms <= self.wanted.target_ms,
            "variants": lines(
                variants,
                development=self.labels,
                test=self.truth.labels(ids),
                groups=self.truth.groups(ids),
            ),
        }
        to = self.wanted.to or sweep.paths.bundle.root
        if chosen.name in made:
            self._write_student(to, found, made[chosen.name], sure[chosen.name])
        else:
            pack(self._single(self._best_member()), to)
        found["bundle"] = str(to)
        write_json(sweep.paths.compress_json, found)
        return found

    def _write_student(
        self, to: Path, found: Mapping[str, Any], said: Said, sure: Sureness
    ) -> None:
        report = self.wanted.packed.report
        line = next(one for one in found["variants"] if one["variant"] == found["chosen"])
        about = {
            "headline": headline(found),
            "dataset": report["dataset"],
            "split": report["split"],
            "out_of_fold": {"accuracy": line["out_of_fold"]},
            "test": line["test"],
            "test_looks": found["test_looks"],
            "versions": report["versions"],
        }
        weights = self.students.weights(said.jobs[-1], pruned=found["chosen"] == PRUNED)
        text = student_card(found, self.wanted.packed)
        one = One("student", weights, sure, study=self.sweep.name, about=about, text=text)
        write_one(to, one)


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
