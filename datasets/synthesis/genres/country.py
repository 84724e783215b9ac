"""Country: alternating bass and strum, train beat on the snare or waltz, fast picking.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(92, 152),
    grooves=(
        Groove(
            drums=(
                {"kick": "x... .... x... ....", "brush": "oooX oooX oooX oooX"},
                {"kick": "x... .... x... ....", "snare": "..x. ..x. ..x. ..x."},
                {"kick": "x... .... x... ....", "brush": "..xo ..xo ..xo ..xo"},
            ),
            bass=("R-.. .... 5-.. ....", "R-.. .... 5-.. ..a."),
            chords=("..x. ..xu ..x. ..xu", "..x. ..x. ..x. ..x.", "1.x. 2.xu 1.x. 2.xu"),
            lead=(
                "x.x. x.xx x.x. x.x.",
                "xxxx x.x. xxxx x.x.",
                "x--. x-x. x--- ....",
                ".... x.xx x-x. x---",
            ),
        ),
        Groove(
            drums=(
                {"kick": "x... .... ....", "brush": ".... x.x. x.x."},
                {"kick": "x... .... ....", "snare": ".... o... o..."},
            ),
            bass=("R--. .... ....", "5--. .... ....", "R--. .... ..a."),
            chords=(".... x.xu x.xu", "1... x.x. x.x.", ".... x--. x--."),
            lead=("x--- ---- x-x-", "x-x- x--- ----", "x--- x--- x-x-"),
            beats=3,
        ),
    ),
    scales=("major_pentatonic", "major_pentatonic", "major"),
    progressions=(
        "I I IV I I I V V",
        "I IV I V I IV V I",
        "I I V V V V I I",
        "I vi IV V I IV I,V I",
    ),
    mix=Mix({"drums": -7, "bass": -3, "chords": -2, "lead": -2}, tilt_db=0.4, room_s=0.5),
    timbres={
        "bass": ("upright_bass", "finger_bass", "pick_bass"),
        "chords": ("steel_guitar", "steel_guitar", "nylon_guitar", "clean_guitar", "piano"),
        "lead": ("banjo", "mandolin", "slide_guitar", "voice", "clean_guitar", "harmonica"),
    },
    missing={"drums": 0.3},
    slides=0.2,
)
