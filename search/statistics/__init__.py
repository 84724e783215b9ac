"""Statistics of predictions: scores, intervals, calibration, conformal sets, model selection."""
