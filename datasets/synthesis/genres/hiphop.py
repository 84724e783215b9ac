"""Hip hop: a slow, sparse beat, deep bass, looped chords and a spoken voice.

A genre of the synthetic corpus, found by its file name.
"""

from chorale.datasets.synthesis.grooves import Genre, Groove, Mix

GENRE = Genre(
    tempo_bpm=(74, 102),
    grooves=(
        Groove(
            drums=(
                {
                    "kick": "X..x ...x ..x. ....",
                    "snare": ".... X... .... X...",
                    "hat": "x.x. x.x. x.x. x.xo",
                },
                {
                    "kick": "X.x. .... .xx. ....",
                    "snare": ".... X... .... X..o",
                    "hat": "x.xo x.xo x.xo x.x.",
                },
                {
                    "kick": "X... ..x. .x.. ..x.",
                    "clap": ".... X... .... X...",
                    "hat": "x.x. x.x. x.x. x.x.",
                    "shaker": "oooo oooo oooo oooo",
                },
            ),
            bass=("R--. ...R ..R- ....", "R-.. ..R. .3.. ....", "R--- .... ..5- R..."),
            chords=("x--- ---- ---- ----", "x--. ...x --.. ....", "1... 3..2 ..4. 3..."),
            lead=("xxxx x.xx xxx. x.xx", ".xxx xx.x xxxx xx..", "xx.x xxxx .xx. xxxx"),
            swing=(0.52, 0.62),
            pair=0.5,
        ),
        Groove(
            drums=(
                {
                    "kick": "X... ..x. .... x...",
                    "clap": ".... .... X... ....",
                    "hat": "xxxx xxxx xxxx oooo xxxx xxxx xxoo oooo",
                },
                {
                    "kick": "X..x .... ..x. ....",
                    "snare": ".... .... X... ....",
                    "hat": "x.x. x.x. x.x. x.x. xxxx x.x. xxxx xxxx",
                },
            ),
            bass=("R--- ---- ..R- ----", "R--- --.. .... R---", "R--- ---- 5--- R---"),
            chords=("x--- ---- ---- ----", "1.2. 3.2. 1.2. 4.2.", "x... ..x. .... ...."),
            lead=("xxx. xxx. xxx. xxx.", "..xx x.xx x.xx x...", "x.xx .... xxxx x.x."),
        ),
    ),
    scales=("minor", "minor_pentatonic", "harmonic_minor"),
    progressions=("i i i i", "i i bVI bVI", "i7 iv7 i7 iv7", "i bVI iv V"),
    mix=Mix(
        {"drums": 0, "bass": 0, "chords": -7, "lead": -1},
        tilt_db=-0.5,
        room_s=0.4,
        wet=0.1,
        compression=0.4,
        loudness_db=-17.0,
    ),
    timbres={
        "bass": ("sub_bass", "sub_bass", "finger_bass", "synth_bass"),
        "chords": ("electric_piano", "piano", "strings", "pad", "vibraphone"),
        "lead": ("rap", "rap", "rap", "bell", "voice"),
    },
    leaps=0.1,
    lead_rests=0.15,
)
