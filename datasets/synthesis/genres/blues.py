"""Blues: triplets throughout, dominant sevenths over twelve bars, bent notes.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(62, 126),
    grooves=(
        Groove(
            drums=(
                {"kick": "x.. ..x x.. ..x", "snare": "... X.. ... X..", "hat": "x.x x.x x.x x.x"},
                {"kick": "x.. x.. x.. x..", "snare": "... X.o ... X.o", "ride": "x.x x.x x.x x.x"},
            ),
            bass=("R.R 3.3 5.5 3.3", "R.R 8.8 7.7 5.5", "R-- 3-- 5-- 7--"),
            chords=("p.p q.q p.p q.q", "p.p p.p q.q p.p", "..x ... ..x ..."),
            lead=("..x x-. x.x x--", "x-- --. ..x x.x", "xxx x-- --. ...", "... ..x x.x x-x"),
        ),
        Groove(
            drums=(
                {"kick": "x.. ..x ..x ...", "snare": "... X.. ... X..", "hat": "xxx xxx xxx xxx"},
                {"kick": "x.. ... x.. ...", "rim": "... x.. ... x..", "ride": "xxx xxx xxx xxx"},
            ),
            bass=("R-- ..5 R-- ..5", "R-- ... 5-- 7-a"),
            chords=("x-- ..x x-- ...", "... x-- ... x-x", "111 222 333 222"),
            lead=("xxx x-- --- ...", "... .xx x-x x--", "x-- --- ..x xxx"),
        ),
    ),
    scales=("blues", "blues", "minor_pentatonic"),
    progressions=(
        "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
        "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7,IV7 I7,V7",
        "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7",
    ),
    mix=Mix({"drums": -5, "bass": -3, "chords": -3, "lead": -1}, tilt_db=-0.3, room_s=0.6),
    timbres={
        "bass": ("upright_bass", "finger_bass", "pick_bass"),
        "chords": ("crunch_guitar", "clean_guitar", "steel_guitar", "piano", "organ"),
        "lead": ("slide_guitar", "harmonica", "crunch_guitar", "clean_guitar", "voice"),
    },
    missing={"drums": 0.15, "bass": 0.1},
    slides=0.45,
)
