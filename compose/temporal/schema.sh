#!/bin/sh
# Temporal's tables, made or brought up to date. The databases are there: compose/postgres/databases.sh makes them.
set -eu

tables() { # DATABASE SCHEMA
    temporal-sql-tool --database "$1" setup-schema --version 0.0
    temporal-sql-tool --database "$1" update-schema --schema-name "postgresql/v12/$2"
}

tables temporal temporal
tables temporal_visibility visibility
