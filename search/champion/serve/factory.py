"""App factory: builds the HTTP app from picklable settings (paths, limits, a token).

`chorale serve` calls it in its own process, a Ray Serve replica on its node.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chorale.search.champion.serve.limits import RequestLimits

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.library.library import Library

WARM_UP_RATE = 16_000
"""Sample rate in Hz of the second of silence that is predicted at start-up; hardly any bundle has
it, so the resampler is loaded, too."""


@dataclass(frozen=True)
class AppFactory:
    """Builds the app when called. The bundle and the library must exist where it is called.

    Each app writes the statistics of its answers to a file of its own in `health_dir`. The bundle
    `shadow` predicts the same recordings, and its statistics are in another file there.
    """

    bundle: Path
    limits: RequestLimits
    token: str | None = None
    n_decoders: int = 1
    library: Path | None = None
    health_dir: Path | None = None
    shadow: Path | None = None

    def __call__(self) -> Any:
        """Loads the bundle.

        Raises:
            UserError: a bundle or the library is damaged, or the library is of another bundle, or
                `health_dir` cannot be written to, or `shadow` is for another task.
        """
        import torch

        from chorale.search.bundle.bundle import Bundle
        from chorale.search.bundle.predictor import Predictor
        from chorale.search.champion.health.monitor import HealthMonitor
        from chorale.search.champion.serve.app import create_app
        from chorale.search.champion.serve.shadow import refuse_other_task

        torch.set_num_threads(1)  # replicas and decoders fill the cores
        predictor = Predictor(Bundle.open(self.bundle))
        if self.shadow is not None:
            shadow = Bundle.open(self.shadow).manifest
            refuse_other_task(shadow, predictor.bundle.manifest, path=self.shadow)
        library = (
            None if self.library is None else self._open_library(predictor.bundle, self.library)
        )
        silence = np.zeros(WARM_UP_RATE, np.float32)
        predictor.predict_waveform(silence, WARM_UP_RATE)  # compiles the features' kernels
        return create_app(
            predictor,
            limits=self.limits,
            library=library,
            token=self.token,
            n_decoders=self.n_decoders,
            health=HealthMonitor(predictor.bundle, self.health_dir),
            shadow=self.shadow,
        )

    def _open_library(self, bundle: "Bundle", folder: Path) -> "Library":
        from chorale.search.champion.library.library import Library

        library = Library.open(folder)
        library.require(
            bundle, next_step=f"make one with this bundle: chorale library add FOLDER --bundle "
            f"{self.bundle} --to {folder}-2",
        )  # fmt: skip
        _ = library.index  # built now, not during the first request
        return library
