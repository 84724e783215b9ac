"""A library of tracks as the champion hears them: what is alike, and playlists made of it."""
