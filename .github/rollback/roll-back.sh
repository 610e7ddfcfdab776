#!/usr/bin/env bash
# Your rollback. Replace the two last lines with the command that brings TARGET_REVISION back.
#
# In the environment:
#   SERVICE            the service's name
#   ENVIRONMENT        where it runs
#   TARGET_REVISION    the commit to bring back; an ancestor of the one checked out here
#   EXPECTED_REVISION  the commit that is live; a deploy that can compare should refuse if it finds another one
#   DEPLOYMENT_ID      GitHub's id of the deployment that TARGET_REVISION comes from
#
# It must return only when the rollback is done, exit 0 only if it is, and be safe to run twice: when it has succeeded
# and recording fails, the next run calls it again. For example:
#   kubectl --namespace "$ENVIRONMENT" set image "deployment/$SERVICE" "app=$SERVICE:$TARGET_REVISION"
#   kubectl --namespace "$ENVIRONMENT" rollout status "deployment/$SERVICE" --timeout=10m
set -euo pipefail

echo "::error file=.github/rollback/roll-back.sh::no rollback command here yet; put the one of $SERVICE into this file"
exit 78
