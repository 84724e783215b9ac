"""What a study leaves for people and scripts: report.json, the page, TensorBoard."""
