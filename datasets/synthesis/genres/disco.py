"""Disco: a kick on every beat, open hi-hats on the off-beat, octaves in the bass.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(108, 132),
    grooves=(
        Groove(
            drums=(
                {
                    "kick": "X... X... X... X...",
                    "clap": ".... x... .... x...",
                    "open": "..x. ..x. ..x. ..x.",
                },
                {
                    "kick": "X... X... X... X...",
                    "snare": ".... x... .... x...",
                    "open": "..x. ..x. ..x. ..x.",
                    "hat": "x.oo x.oo x.oo x.oo",
                },
                {
                    "kick": "X... X... X... X...",
                    "clap": ".... x... .... x...",
                    "hat": "o.X. o.X. o.X. o.X.",
                    "conga": "..xo .ox. ..xo .oxx",
                },
            ),
            bass=("R.8. R.8. R.8. R.8.", "R-.8 .R8. R-.8 .R8.", "R.R8 R.R8 5.58 R.a8"),
            chords=(
                "m.xm m.xm m.xm m.xm",
                "x-.. ..x- .... x...",
                "..x. ..x. ..x. ..x.",
                "xmxm mxmx mmxm xmxm",
            ),
            lead=("x--- ---- ---- xxxx", "..x. x-x. ..x- x-..", "x-x- x--- .... ..xx"),
        ),
    ),
    scales=("dorian", "minor", "major"),
    progressions=(
        "i7 i7 iv7 iv7",
        "i7 bVII IV7 iv7",
        "vi7 ii7 V7 Imaj7",
        "Imaj7 iii7 IVmaj7 V7",
    ),
    mix=Mix({"drums": -1, "bass": -2, "chords": -4, "lead": -5}, tilt_db=0.4, compression=0.3),
    timbres={
        "bass": ("slap_bass", "synth_bass", "finger_bass"),
        "chords": ("strings", "clean_guitar", "electric_piano", "synth_saw", "brass"),
        "lead": ("strings", "brass", "synth_saw", "voice", "flute"),
    },
    lead_rests=0.35,
)
