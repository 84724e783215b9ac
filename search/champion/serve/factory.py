"""Makes the app from what can be sent to another process: paths, numbers, a token.

`chorale serve` calls it here, a replica on a cluster calls it there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chorale.search.champion.serve.limits import Limits

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.library.library import Library

WARM_RATE = 16_000
"""Of the second of silence that is judged first, in Hz; hardly any bundle has it, so the resampler
is loaded, too."""


@dataclass(frozen=True)
class AppFactory:
    """Called, it gives the app. The bundle and the library must lie there, too."""

    bundle: Path
    limits: Limits
    token: str | None = None
    n_decoders: int = 1
    library: Path | None = None

    def __call__(self) -> Any:
        """Loads the bundle.

        Raises:
            UserError: it is not whole, or the library is not, or another bundle heard it.
        """
        import torch

        from chorale.search.bundle.bundle import Bundle
        from chorale.search.bundle.predictor import Predictor
        from chorale.search.champion.serve.app import create_app

        torch.set_num_threads(1)  # replicas and decoders fill the cores
        predictor = Predictor(Bundle.open(self.bundle))
        library = None if self.library is None else self._opened(predictor.bundle, self.library)
        predictor.of_waveform(np.zeros(WARM_RATE, np.float32), WARM_RATE)  # compiles what it needs
        return create_app(
            predictor,
            limits=self.limits,
            library=library,
            token=self.token,
            n_decoders=self.n_decoders,
        )

    def _opened(self, bundle: "Bundle", folder: Path) -> "Library":
        from chorale.search.champion.library.library import Library

        library = Library.open(folder)
        library.require(
            bundle, otherwise=f"make one with this bundle: chorale library add FOLDER --bundle "
            f"{self.bundle} --to {folder}-2",
        )  # fmt: skip
        _ = library.index  # now, and not while somebody waits
        return library
