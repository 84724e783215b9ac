"""Charts as SVG, ONE FILE = ONE CHART: pure functions from plain numbers to inline markup."""
