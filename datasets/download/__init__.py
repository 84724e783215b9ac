"""Downloads and safe unpacking of datasets; servers and archives are untrusted."""
