"""Makes the app from what can be sent to another process: paths, numbers, a token.

`chorale serve` calls it here, a replica on a cluster calls it there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search.champion.serve.limits import Limits

WARM_RATE = 16_000
"""Of the second of silence that is judged first, in Hz; hardly any bundle has it, so the resampler
is loaded, too."""


@dataclass(frozen=True)
class AppFactory:
    """Called, it gives the app. The bundle must lie there, too."""

    bundle: Path
    limits: Limits
    token: str | None = None
    n_decoders: int = 1

    def __call__(self) -> Any:
        """Loads the bundle.

        Raises:
            UserError: it is not whole.
        """
        import torch

        from search.champion.bundle import Bundle
        from search.champion.predictor import Predictor
        from search.champion.serve.app import create_app

        torch.set_num_threads(1)  # replicas and decoders fill the cores
        predictor = Predictor(Bundle.open(self.bundle))
        predictor.of_waveform(np.zeros(WARM_RATE, np.float32), WARM_RATE)  # compiles what it needs
        return create_app(
            predictor,
            limits=self.limits,
            token=self.token,
            n_decoders=self.n_decoders,
        )
