"""Charts, ONE FILE = ONE CHART: pure functions from plain numbers to Vega-Lite."""
