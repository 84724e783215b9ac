"""ONE FILE = ONE CHART: pure functions from plain numbers to SVG that stands in a page."""
