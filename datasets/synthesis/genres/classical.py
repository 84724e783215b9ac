"""Classical: broken chords and cadences in four or three, rubato, few drums.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(66, 150),
    grooves=(
        Groove(
            drums=({"timpani": "x... .... .... ...."}, {"timpani": "x... .... x... ...."}),
            bass=("R--- ---- ---- ----", "R--- ---- 5--- ----", "R--- R--- R--- R---"),
            chords=(
                "1323 1323 1323 1323",
                "1234 3232 1234 3232",
                "x--- ---- x--- ----",
                ".x.x .x.x .x.x .x.x",
            ),
            lead=(
                "x--- ---- x--- x---",
                "x-x- x-x- x--- ----",
                "xxxx xxxx x--- x---",
                "x--- --x- x-x- x-x-",
                "xxxx xxxx xxxx xxxx",
            ),
        ),
        Groove(
            drums=({"timpani": "x... .... ...."},),
            bass=("R--- .... ....", "R--- 5--- 5---", "R--- ---- ----"),
            chords=(".... x--- x---", "1-2- 3-2- 3-2-", "1.23 4321 2323"),
            lead=("x--- --x- x---", "x-x- x-x- x-x-", "xxxx x--- x---", "x--- ---- x---"),
            beats=3,
        ),
    ),
    scales=("major", "major", "harmonic_minor"),
    progressions=(
        "I V I IV ii V I V",
        "I vi ii V I IV,V I V7",
        "I V vi iii IV I ii V7",
        "i iv V i bVI iv V7 i",
    ),
    mix=Mix(
        {"drums": -6, "bass": -4, "chords": -3, "lead": -2},
        room_s=1.8,
        wet=0.5,
        compression=0.0,
        saturation=0.0,
        loudness_db=-22.0,
    ),
    timbres={
        "bass": ("cello", "cello", "upright_bass"),
        "chords": ("piano", "strings", "harpsichord", "nylon_guitar"),
        "lead": ("strings", "flute", "clarinet", "piano", "brass"),
    },
    missing={"drums": 0.8, "bass": 0.3},
    rubato=0.07,
    leaps=0.12,
    lead_rests=0.1,
)
