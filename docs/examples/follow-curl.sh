#!/usr/bin/env bash
# Follows an account's balance over server-sent events with curl and jq: every row of its ledger, in order, whatever
# breaks.
#
#   URL=http://127.0.0.1:8000 KEY=eco_… CURSOR_FILE=cursor.txt bash follow-curl.sh
set -euo pipefail
: "${URL:=http://127.0.0.1:8000}" "${KEY:?is the API key}" "${CURSOR_FILE:=cursor.txt}"

position='{"query": "{ account { balanceCursor } }"}'
changes='{"query": "subscription { balanceChanged { cursor balance transaction {
  id createdAt type amount balanceAfter description } } }"}'
changes=${changes//$'\n'/ }

# The key comes by a pipe: a command's arguments can be read by every user of the machine.
call() {
  curl --silent --no-buffer --keepalive-time 20 --config <(printf 'header = "Authorization: Bearer %s"\n' "$KEY") \
    --header 'Content-Type: application/json' --write-out '\nstatus: %{http_code}\n' "$@" "$URL/graphql" || true
}

save() {
  printf '%s' "$1" >"$CURSOR_FILE.new"
  mv "$CURSOR_FILE.new" "$CURSOR_FILE"
}

# Yours. If this program is killed between this and save, the row comes once more: tell it by its id.
handle() {
  printf '%s\n' "$1"
}

# Ends the program unless the same request can succeed later.
give_up_on() {
  case $1 in
    LAGGED | UNAVAILABLE | RATE_LIMITED | INTERNAL | 200 | 000 | 429 | 5??) ;;
    *)
      printf 'refused: %s %s\n' "$1" "${2:-}" >&2
      exit 1
      ;;
  esac
}

# The first time: the position of now. From here on nothing is missed, even if this program is killed before it has
# seen a single row.
begin() {
  local answer cursor
  answer=$(call --data "$position")
  give_up_on "${answer##*status: }" "$answer"
  cursor=$(jq -r '.data.account.balanceCursor // empty' <<<"${answer%status: *}") || cursor=
  [ -z "$cursor" ] || save "$cursor"
}

# One connection, from the cursor to its end.
follow() {
  local line id="" data=""
  while IFS= read -r line; do
    case $line in
      'id: '*) id=${line#id: } ;;
      'data: '*) data=${line#data: } ;;
      'status: '*) give_up_on "${line#status: }" ;;
      '')
        case $data in
          '') ;;
          '{"errors"'*) give_up_on "$(jq -r '.errors[0].extensions.code' <<<"$data")" "$data" ;;
          *)
            handle "$data"
            save "$id"
            failures=0
            ;;
        esac
        id="" data=""
        ;;
    esac
  done < <(call --header 'Accept: text/event-stream' --header "Last-Event-ID: $(<"$CURSOR_FILE")" --data "$changes")
}

failures=0
while :; do
  if [ -s "$CURSOR_FILE" ]; then follow; else begin; fi
  # Spread, so that not everybody comes back in the same moment.
  sleep "$((failures < 5 ? (1 << failures) - 1 : 30)).$((RANDOM % 10))"
  failures=$((failures + 1))
done
