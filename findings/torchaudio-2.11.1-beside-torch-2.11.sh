#!/usr/bin/env bash
# torchaudio 2.11.1 does not load beside torch 2.11.0, though its metadata ask for torch>=2.11.
#
# A range of `torchaudio==2.11.*` with `torch==2.11.*` fitted together until the patch release
# 2.11.1: pip then installs a pair that `pip check` is content with, and that ends in an OSError when
# torchaudio is imported, since its library needs a symbol that PyTorch has only from 2.13 on.
#
# Seen on 2026-11-29, Python 3.11, Linux x86_64, torch 2.11.0, torchaudio 2.11.1:
#   pip check: No broken requirements found.
#   OSError: Could not load this library: .../torchaudio/lib/libtorchaudio.so
#   cause: undefined symbol: torch_exception_get_what_without_backtrace
# So: pin both, or ask for torch>=2.13 with torchaudio 2.11.1. Needs 6 GB of disk for a while.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.11.0 torchaudio==2.11.1

"$folder/venv/bin/pip" check
"$folder/venv/bin/python" - <<'PYTHON'
import torch

assert torch.__version__.startswith("2.11.0"), torch.__version__
try:
    import torchaudio
except OSError as error:
    cause = error.__cause__ or error
    print(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    print("cause:", str(cause).splitlines()[0][-80:])
    assert "undefined symbol" in str(cause), cause
else:
    raise SystemExit(f"torchaudio {torchaudio.__version__} loads beside torch {torch.__version__}")
PYTHON
echo "as described"
