"""Jazz: swing on the ride, a walking bass, syncopated chords, long lines of eighth notes.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(104, 216),
    grooves=(
        Groove(
            drums=(
                {"ride": "x.xx x.xx", "hat": "..x. ..x.", "kick": "o... o..."},
                {"ride": "x.xx x.xx", "hat": "..x. ..x.", "snare": ".o.. ...o"},
                {"brush": "oxox oxox", "hat": "..x. ..x.", "ride": "x.x. x.x."},
            ),
            bass=("w-w- w-w-", "w-w- w-wa"),
            chords=("x... .x..", ".x.. x...", "...x ...x", ".x-. ..x-", "x--. ...x"),
            lead=("xxxx xxxx", ".xxx xxx.", "x.xx .xxx", "xxxx x---", "..xx xxx."),
            swing=(0.58, 0.67),
        ),
        Groove(
            drums=(
                {"ride": "x.xx.x", "hat": "..x.x.", "kick": "o....."},
                {"brush": "xoxoxo", "ride": "x.x.x."},
            ),
            bass=("w-w-w-", "R---w-"),
            chords=("x..x..", ".x-..x", "x----."),
            lead=("xxxxxx", ".xxxx.", "x-xxx-", "xxx---"),
            beats=3,
            swing=(0.58, 0.67),
        ),
    ),
    scales=("bebop", "dorian", "mixolydian"),
    progressions=(
        "ii7 V7 Imaj7 Imaj7 iim7b5 V7 i7 i7",
        "Imaj7,vi7 ii7,V7 iii7,VI7 ii7,V7",
        "I7 IV7 I7 v7,I7 IV9 #IVdim I7 VI7 ii7 V7 I7,VI7 ii7,V7",
        "i9 i9 bVImaj7 V7 i9 iv9 iim7b5 V7",
    ),
    mix=Mix(
        {"drums": -5, "bass": -2, "chords": -5, "lead": -2},
        tilt_db=-0.4,
        room_s=0.9,
        wet=0.25,
        compression=0.1,
        loudness_db=-21.0,
    ),
    timbres={
        "bass": ("upright_bass", "upright_bass", "finger_bass"),
        "chords": ("piano", "clean_guitar", "vibraphone", "electric_piano", "organ"),
        "lead": ("saxophone", "brass", "piano", "clarinet", "clean_guitar", "flute"),
    },
    missing={"drums": 0.15, "chords": 0.1},
    leaps=0.25,
    slides=0.15,
)
