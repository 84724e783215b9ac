"""Digital signal processing: FFT, mel spectrogram, constant-Q, HPSS, descriptors."""
