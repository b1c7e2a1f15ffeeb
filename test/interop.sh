#!/bin/sh
# Do transformers and our code read each other's folders? See interop.py for the options. PYTHON names another interpreter.
exec "${PYTHON:-python3}" "$(dirname "$0")/interop.py" "$@"
