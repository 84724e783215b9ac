"""Audio or a table on disk, turned into audited tracks, cached features and honest folds.

The lowest room of the house: it knows no Ray, no Optuna and no Lightning. (Not the Hugging Face
package of the same name, on which this project never depends.)
"""
