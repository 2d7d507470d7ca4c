#!/bin/sh
# Asks for an account's balance with curl, and tells a refusal by its code.
#
#   URL=http://127.0.0.1:8000 KEY=eco_… sh balance-curl.sh

set -eu

answer=$(curl -sS "${URL:-http://127.0.0.1:8000}/graphql" \
  -H "Authorization: Bearer $KEY" \
  -H 'Content-Type: application/json' \
  -H 'Accept: application/graphql-response+json' \
  -d '{"query": "query Balance { account { id balance } }"}')

if code=$(printf '%s' "$answer" | jq -er '.errors[0].extensions.code'); then
  echo "$code"
  exit 1
fi
printf '%s' "$answer" | jq -r '.data.account.balance'
