"""Reggae: chords on the off-beat, the kick on three, bass lines full of rests.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(64, 92),
    grooves=(
        Groove(
            drums=(
                {
                    "kick": ".... .... X... ....",
                    "rim": ".... .... X... ...x",
                    "hat": "x.xo x.xo x.xo x.xo",
                },
                {
                    "kick": "X... X... X... X...",
                    "rim": ".... .... x... ..x.",
                    "hat": "x.x. x.x. x.x. x.xx",
                },
                {
                    "kick": "X... .... X... ....",
                    "snare": ".... X... .... X.o.",
                    "hat": "..x. ..x. ..x. ..xo",
                },
            ),
            bass=(
                "R-.. R.3. 5-.. ....",
                ".... R.R. 5.3. R-..",
                "R-R. ..5. ..3. R...",
                "R--. ..R- 3.5- ....",
            ),
            chords=("..X. ..X. ..X. ..X.", "..xu ..xu ..xu ..xu", ".oxo .oxo .oxo .oxo"),
            lead=("x--- ..x. x-x- ....", ".... x-x- x--- ....", "x-.x -.x- x--- ----"),
            swing=(0.5, 0.6),
            pair=0.5,
        ),
    ),
    scales=("minor", "major", "dorian"),
    progressions=("i iv i iv", "I IV I IV", "i bVII i bVII", "I V ii IV", "vi V vi V"),
    mix=Mix({"drums": -3, "bass": 0, "chords": -4, "lead": -4}, tilt_db=-0.5, room_s=1.2, wet=0.25),
    timbres={
        "bass": ("sub_bass", "finger_bass", "finger_bass"),
        "chords": ("clean_guitar", "organ", "piano", "clean_guitar"),
        "lead": ("voice", "brass", "saxophone", "organ", "harmonica"),
    },
    lead_rests=0.4,
)
