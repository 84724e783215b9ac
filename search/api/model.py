"""A bundle as an object that predicts for arrays and files."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from chorale.search.bundle.loading import Waveform
    from chorale.search.bundle.predictor import Predictor, TrackPrediction


class ExportedModel:
    """A bundle that `Study.export` or `chorale export` made; loaded at the first prediction."""

    def __init__(self, folder: str | Path) -> None:
        """Opens the bundle.

        Raises:
            UserError: there is none, or it is damaged.
        """
        from chorale.search.bundle.bundle import Bundle

        self.bundle: Bundle = Bundle.open(Path(folder))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self.bundle.manifest.labels

    @cached_property
    def predictor(self) -> "Predictor":
        """The loaded networks and feature extractors.

        Raises:
            UserError: parts of the bundle do not fit one another.
        """
        from chorale.search.bundle.predictor import Predictor

        return Predictor(self.bundle)

    def predict(self, waveform: "Waveform", sample_rate: int) -> "TrackPrediction":
        """Predicts for a waveform: float32 (n_samples,), full scale 1.0; its rate in Hz."""
        return self.predictor.predict_waveform(waveform, sample_rate)

    def predict_files(self, files: Sequence[str | Path]) -> "pd.DataFrame":
        """Predicts for audio files: one row per file, one column per class.

        The first columns are `label`, the most probable class, and `out_of_distribution`.

        Raises:
            AudioError: a file gives no usable waveform.
        """
        import pandas as pd

        rows = []
        for file in files:
            found = self.predictor.predict_file(file)
            label, odd = self.labels[found.best], found.out_of_distribution
            proba = dict(zip(self.labels, found.proba.tolist(), strict=True))
            rows.append({"file": str(file), "label": label, "out_of_distribution": odd, **proba})
        return pd.DataFrame(rows).set_index("file")
