"""Rock: a hard backbeat, driving eighth notes on guitar and bass, a few plain chords.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(98, 156),
    grooves=(
        Groove(
            drums=(
                {
                    "kick": "X... ..x. x.x. ....",
                    "snare": ".... X... .... X...",
                    "hat": "x.x. x.x. x.x. x.x.",
                },
                {
                    "kick": "X.x. .... X.x. ....",
                    "snare": ".... X... .... X...",
                    "ride": "x.x. x.x. x.x. x.x.",
                },
                {
                    "kick": "X... ..x. X... ..x.",
                    "snare": ".... X... .... X...",
                    "crash": "x... x... x... x...",
                },
                {
                    "kick": "X... x... X... x...",
                    "snare": ".... X... .... X...",
                    "tom": "x.x. ..x. x.x. ..x.",
                },
            ),
            bass=("R.R. R.R. R.R. R.R.", "R.R. R.R. R.R. 5.a.", "R-.. ..R. R.R. ...."),
            chords=(
                "x.x. x.x. x.x. x.x.",
                "x--- ..x. x-x- ..x-",
                "x-xu .uxu x-xu .uxu",
                "x--- --x- --x- x---",
            ),
            lead=("x-x- x--- ..x- x---", "x-xx x-x- x--- ----", "x--- ---- x-x- x-x-"),
        ),
    ),
    scales=("minor_pentatonic", "mixolydian", "major", "blues"),
    progressions=("I bVII IV I", "i bVI bVII i", "I5 IV5 V5 IV5", "I5 I5 bIII5 IV5", "vi IV I V"),
    mix=Mix(
        {"drums": -2, "bass": -3, "chords": -1, "lead": -2},
        room_s=0.8,
        compression=0.4,
        saturation=1.0,
        loudness_db=-17.0,
    ),
    timbres={
        "bass": ("pick_bass", "finger_bass", "pick_bass"),
        "chords": ("crunch_guitar", "crunch_guitar", "clean_guitar", "steel_guitar", "organ"),
        "lead": ("crunch_guitar", "voice", "fuzz_guitar", "voice", "organ"),
    },
    missing={"drums": 0.03},
    slides=0.2,
)
