"""Pop: a loop of four chords, a singable melody, steady eighth notes.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(92, 132),
    grooves=(
        Groove(
            drums=(
                {
                    "kick": "X... ..x. X... ....",
                    "snare": ".... X... .... X...",
                    "hat": "x.x. x.x. x.x. x.x.",
                },
                {
                    "kick": "X..x ..x. ..x. ..x.",
                    "clap": ".... X... .... X...",
                    "shaker": "xoxo xoxo xoxo xoxo",
                },
                {
                    "kick": "X... X... X... X...",
                    "clap": ".... X... .... X...",
                    "shaker": "oxox oxox oxox oxox",
                },
            ),
            bass=("R-R- R-R- R-R- R-R-", "R--R --R- R--R --R-", "R--- --R- R--- --a-"),
            chords=("x--x --x- x--x --x-", "x--- ---- x--- ----", "1324 1324 1324 1324"),
            lead=(
                "x-x- x-xx .x-- --..",
                "..x- x-x- x--- x-x-",
                "x--x --x- x-x- x---",
                ".xxx x-x- .xx- x---",
            ),
        ),
    ),
    scales=("major", "major_pentatonic", "major"),
    progressions=("I V vi IV", "vi IV I V", "I vi IV V", "IV I V vi", "IV V iii vi"),
    mix=Mix(
        {"drums": -2, "bass": -3, "chords": -4, "lead": -1},
        tilt_db=0.4,
        room_s=1.0,
        compression=0.4,
        loudness_db=-17.0,
    ),
    timbres={
        "bass": ("synth_bass", "finger_bass", "sub_bass"),
        "chords": ("synth_pluck", "pad", "piano", "synth_saw", "steel_guitar", "clean_guitar"),
        "lead": ("voice", "voice", "synth_square", "synth_saw", "bell"),
    },
    missing={"drums": 0.05},
    leaps=0.12,
)
