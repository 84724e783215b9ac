"""Metal: muted power chords, galloping double kicks, dark scales, heavy distortion.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(96, 190),
    grooves=(
        Groove(
            drums=(
                {
                    "kick": "x.xx x.xx x.xx x.xx",
                    "snare": ".... X... .... X...",
                    "crash": "x... .... .... ....",
                    "hat": "x... x... x... x...",
                },
                {
                    "kick": "xxxx xxxx xxxx xxxx",
                    "snare": ".... X... .... X...",
                    "ride": "x.x. x.x. x.x. x.x.",
                },
                {
                    "kick": "x.x. x.x. x.x. x.x.",
                    "snare": "..X. ..X. ..X. ..X.",
                    "hat": "x.x. x.x. x.x. x.x.",
                },
            ),
            bass=("R.RR R.RR R.RR R.RR", "RRRR RRRR RRRR RRRR", "R.R. R.R. R.RR R.RR"),
            chords=("m.mm m.mm m.mm x-x-", "mmmm mmmm x-mm mmx-", "mmmX mmmX mmmX mmXX"),
            lead=("xxxx xxxx xxxx xxxx", "x--- ---- x--- x---", "xxx. xxx. xxxx xxxx"),
        ),
        Groove(
            drums=(
                {
                    "kick": "x..x ..x. ..xx x...",
                    "snare": ".... .... X... ....",
                    "crash": "x... x... x... x...",
                },
                {
                    "kick": "xx.. .x.. .... xxxx",
                    "snare": ".... .... X... ....",
                    "ride": "x... x... x... x...",
                },
            ),
            bass=("R..R ..R. ..RR R---", "RR.. .R.. .... RRRR"),
            chords=("m..m ..m. ..mm X---", "mm.. .m.. X--- mmmm", "x--- ---- mmmm x---"),
            lead=("x--- ---- ---- x-x-", "xxxx xxxx x--- ----"),
        ),
    ),
    scales=("phrygian", "minor", "harmonic_minor", "phrygian_dominant"),
    progressions=("i5 i5 bII5 i5", "i5 i5 bVI5 bVII5", "i5 bIII5 bII5 i5", "i5 i5 iv5 bV5"),
    mix=Mix(
        {"drums": -1, "bass": -4, "chords": 0, "lead": -3},
        compression=0.5,
        saturation=1.5,
        loudness_db=-16.0,
    ),
    timbres={
        "bass": ("pick_bass", "pick_bass", "finger_bass"),
        "chords": ("fuzz_guitar", "fuzz_guitar", "crunch_guitar"),
        "lead": ("fuzz_guitar", "voice", "crunch_guitar", "synth_saw"),
    },
    lead_rests=0.45,
    slides=0.15,
)
