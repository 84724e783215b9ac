"""Recording conditions: the same recording through a codec, in a room, with noise, cut short."""
