#!/bin/sh
# The dev server keeps a schema of its own, so there is none to set up.
echo "stand-in: no schema is set up ($*)"
