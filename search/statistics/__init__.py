"""Pure functions of arrays: scores, intervals, calibration, conformal sets, selection."""
