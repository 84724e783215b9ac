"""Model selection of a compression: latency, choice, one test evaluation, and the bundle.

`search.champion.compress.run` calls it when all students are trained. The choice goes by
out-of-fold accuracy and latency, before the test set is evaluated.
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
from chorale.search.bundle.single_network import (
    Calibration,
    SingleNetwork,
    fit_calibration,
    write_single_network_bundle,
)
from chorale.search.champion.compress.card import compression_summary, student_card
from chorale.search.champion.compress.graphs import StudentCheckpoints, graph_variants
from chorale.search.champion.compress.student import StudentPredictions, Students
from chorale.search.champion.compress.variants import Variant, choose_variant, variant_rows
from chorale.search.champion.pack.pack import BundleContents, pack_bundle
from chorale.search.combining.base import EnsembleModel
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, ground_truth_of
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.evaluation.members import Member, read_member
from chorale.search.ledger.ground_truth import GroundTruth, write_ground_truth
from chorale.search.statistics.arrays import Proba
from chorale.search.statistics.calibration import calibrate
from chorale.search.statistics.main_score import metric_name
from chorale.search.training import latency

ENSEMBLE, SINGLE, STUDENT, PRUNED = "ensemble", "best single", "student", "student, pruned"


@dataclass(frozen=True)
class CompressionRequest:
    """A compression: the ensemble, the latency limit, the number of trials, the bundle's folder."""

    contents: BundleContents
    target_ms: float
    trials: int
    to: Path | None = None


@dataclass
class FinalStage:
    """Everything after the trainings; `number` is the student's trial."""

    request: CompressionRequest
    students: Students
    prepared: PreparedData
    progress: Progress
    number: int
    left_out: list[str]

    def __post_init__(self) -> None:
        self.sweep = self.students.context.sweep
        self.truth: GroundTruth = ground_truth_of(self.prepared)
        ids = self.prepared.split.development_ids
        self.labels, self.groups = self.truth.labels(ids), self.truth.groups(ids)

    def run(self, made: Mapping[str, StudentPredictions]) -> dict[str, Any]:
        """Measures latency, chooses a variant, evaluates the test set, writes the bundle."""
        write_ground_truth(self.sweep.paths, self.truth)
        write_json(self.sweep.paths.split_json, self.prepared.split.to_json())
        calibrations = {name: self._fit_calibration(one.out_of_fold) for name, one in made.items()}
        with tempfile.TemporaryDirectory() as scratch:
            variants = self._ensemble_and_best_single(Path(scratch))
            for name, predictions in made.items():
                to = Path(scratch) / name
                variants.append(self._student_variant(name, predictions, calibrations[name], to))
                self._show_latency(variants[-1])
        chosen = choose_variant(variants, self.labels, limit_ms=self.request.target_ms)
        if chosen is None:
            fastest = min(v.latency.processor_ms for v in variants)
            raise UserError(
                f"no variant keeps to {self.request.target_ms:g} ms now; the fastest took "
                f"{fastest:.1f} ms; type the same again when the machine is less busy, or raise "
                f"the limit: --target-ms {np.ceil(1.2 * fastest):g}"
            )
        base = chosen.name if chosen.name in made else STUDENT
        variants += self._onnx_variants(made[base], base, calibrations[base])
        return self._evaluate(variants, chosen, made, calibrations)

    def _fit_calibration(self, out_of_fold: Proba) -> Calibration:
        return fit_calibration(
            out_of_fold,
            self.labels,
            self.groups,
            coverage=self.sweep.ensemble.coverage,
            seed=self.sweep.search.seed,
        )

    def _show_latency(self, one: Variant) -> None:
        self.progress.stage("latency", f"{one.name}: {one.latency.processor_ms:.1f} ms")

    def _ensemble_and_best_single(self, scratch: Path) -> list[Variant]:
        """The ensemble, and the best single trial."""
        contents = self.request.contents
        chosen = read_chosen_predictions(contents.sweep.paths, self.truth)
        if chosen is None:
            raise UserError(
                f"study '{contents.sweep.name}' keeps no predictions of its ensemble; make it "
                f"again: chorale ensemble {contents.sweep.name}"
            )
        found = [self._packed_variant(ENSEMBLE, contents, chosen.out_of_fold, chosen.test, scratch)]
        member = self._best_member()
        alone = self._single(member)
        one = self._packed_variant(SINGLE, alone, member.out_of_fold, member.test, scratch)
        found.append(replace(one, can_be_chosen=True))
        return found

    def _best_member(self) -> Member:
        contents = self.request.contents
        single = contents.report["best_single"]["members"][0]
        paths, split = contents.sweep.paths, self.prepared.split
        return read_member(paths, split, single, contents.jobs(single))

    def _single(self, member: Member) -> BundleContents:
        """The best single trial as an ensemble of one, with a calibration of its own."""
        contents = self.request.contents
        report = contents.report
        kinds = dict(zip(contents.members, contents.architectures, strict=True))
        calibration = self._fit_calibration(member.out_of_fold)
        single = int(member.name)
        names = self.prepared.class_names if calibration.thresholds else ()
        thresholds = dict(zip(names, calibration.thresholds, strict=True))
        return replace(
            contents,
            report={
                **report,
                "ensemble": report["best_single"],
                "calibration": {"temperature": calibration.temperature},
                "conformal": {**report["conformal"], "least_proba": calibration.least_proba},
                **({"thresholds": thresholds} if thresholds else {}),
            },
            model=EnsembleModel(np.ones(1)),
            members=(single,),
            architectures=(kinds.get(single, ""),),
            predictions=None,
        )

    def _packed_variant(
        self, name: str, contents: BundleContents, out_of_fold: Proba, test: Proba, scratch: Path
    ) -> Variant:
        bundle = pack_bundle(contents, scratch / name)
        n = len(bundle.manifest.networks)
        found = Variant(
            name,
            out_of_fold,
            test,
            latency.bundle_latency(scratch / name),
            _size_mb(scratch / name),
            f"{n} networks of {bundle.manifest.members_text}",
        )
        self._show_latency(found)
        return found

    def _student_variant(
        self, name: str, predictions: StudentPredictions, calibration: Calibration, to: Path
    ) -> Variant:
        weights = self.students.weights(predictions.jobs[-1], pruned=name == PRUNED)
        write_single_network_bundle(to, SingleNetwork("student", weights, calibration))
        what = f"{self.students.architecture(self.number)}, trial {self.number}"
        return Variant(
            name,
            predictions.out_of_fold,
            predictions.test,
            latency.bundle_latency(to),
            _size_mb(to),
            what if name == STUDENT else f"{what}, half the width",
            can_be_chosen=True,
        )

    def _onnx_variants(
        self, predictions: StudentPredictions, base: str, calibration: Calibration
    ) -> list[Variant]:
        """The ONNX variants of the chosen student; none, and a line in `left_out`, on failure."""
        folders = [self.students.weights(job, pruned=base == PRUNED) for job in predictions.jobs]
        paths = self.sweep.paths
        try:
            return graph_variants(
                StudentCheckpoints(folders[:-1], folders[-1]),
                self.prepared,
                calibration,
                calibrate(
                    predictions.test,
                    calibration.temperature,
                    multi_label=self.prepared.multi_label,
                ),
                to=(paths.student_onnx(base.replace(", ", "-")), paths.student_onnx("int8")),
                on_progress=partial(self.progress.stage, "graphs"),
            )
        except (UserError, AudioError) as error:
            self.left_out.append(f"ONNX: left out: {error}")
            return []

    def _evaluate(
        self,
        variants: Sequence[Variant],
        chosen: Variant,
        made: Mapping[str, StudentPredictions],
        calibrations: Mapping[str, Calibration],
    ) -> dict[str, Any]:
        """The single evaluation of the test set; gives the content of `compress.json`."""
        split, sweep = self.prepared.split, self.sweep
        looks = self.students.context.ledger.count_test_look(sweep.name, split.hash)
        ids = split.test_ids
        found: dict[str, Any] = {
            "study": sweep.name,
            "teacher": self.request.contents.sweep.name,
            "target_ms": self.request.target_ms,
            "trials": self.request.trials,
            "chosen": chosen.name,
            "test_looks": looks,
            "left_out": self.left_out,
            "fits": chosen.latency.p50_ms <= self.request.target_ms,
            "variants": variant_rows(
                variants,
                development=self.labels,
                test=self.truth.labels(ids),
                groups=self.truth.groups(ids),
            ),
        }
        to = self.request.to or sweep.paths.bundle.root
        if chosen.name in made:
            self._write_student(to, found, made[chosen.name], calibrations[chosen.name])
        else:
            pack_bundle(self._single(self._best_member()), to)
        found["bundle"] = str(to)
        write_json(sweep.paths.compress_json, found)
        return found

    def _write_student(
        self,
        to: Path,
        found: Mapping[str, Any],
        predictions: StudentPredictions,
        calibration: Calibration,
    ) -> None:
        report = self.request.contents.report
        line = next(one for one in found["variants"] if one["variant"] == found["chosen"])
        about = {
            "headline": compression_summary(found),
            "dataset": report["dataset"],
            "split": report["split"],
            "out_of_fold": {metric_name(line["test"]): line["out_of_fold"]},
            "test": line["test"],
            "test_looks": found["test_looks"],
            "versions": report["versions"],
        }
        weights = self.students.weights(predictions.jobs[-1], pruned=found["chosen"] == PRUNED)
        text = student_card(found, self.request.contents)
        one = SingleNetwork(
            "student", weights, calibration, study=self.sweep.name, about=about, model_card=text
        )
        write_single_network_bundle(to, one)


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
