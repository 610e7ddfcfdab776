#!/bin/sh
# The namespace, and the search attributes that incidents are found by; what is there already is left alone.
set -eu

namespace="${TEMPORAL_NAMESPACE:-default}"
kept_for=720h # closed workflows; what an incident was stands in the store for good

until temporal operator cluster health > /dev/null 2>&1; do
    sleep 1
done
temporal operator namespace describe --namespace "$namespace" > /dev/null 2>&1 \
    || temporal operator namespace create --namespace "$namespace" --retention "$kept_for"
known="$(temporal operator search-attribute list --namespace "$namespace")"
for each in IncidentId Service Environment Severity Stage Outcome; do
    case "$known" in
        *"$each"*) ;;
        *) temporal operator search-attribute create --namespace "$namespace" --name "$each" --type Keyword ;;
    esac
done
