#!/usr/bin/env bash
# Judges the tests of this run of a workflow; writes the summary, annotations, the outputs of the action, and one comment.
# Needs curl and jq, as on GitHub's runners. The variables are those of action.yml, and of GitHub.
set -uo pipefail
files=$(mktemp -d)

finish() { # with this exit code
  local verdict=none
  if [ "$1" = 0 ]; then verdict=passes; elif [ "$1" = 1 ]; then verdict=fails; fi
  printf 'verdict=%s\nnew=%s\nknown=%s\n' "$verdict" "${new:-}" "${known:-}" >> "$GITHUB_OUTPUT"
  exit "$1"
}

github() { # path in the repository, options of curl
  curl -fsSL --max-time 30 -H "Authorization: Bearer $GITHUB_TOKEN" \
    "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/$1" "${@:2}"
}

find_comment() {
  local page found
  for page in 1 2 3 4 5; do
    found=$(github "issues/$PULL_REQUEST/comments?per_page=100&page=$page") || return
    jq -r --arg marker "$(head -n 1 "$files/gate.md")" 'map(select(.body | startswith($marker)).id)[0] // empty' <<< "$found"
    [ "$(jq length <<< "$found")" = 100 ] || return 0
  done
}

write_comment() { # a first one only if there is something to say
  local id
  id=$(find_comment | head -n 1) || return
  if [ -n "$id" ]; then
    set -- "issues/comments/$id" -X PATCH
  elif [ "$code" = 0 ] && [ ! -s "$files/gate.jsonl" ]; then
    return 0
  else
    set -- "issues/$PULL_REQUEST/comments"
  fi
  jq -Rs '{body: .}' "$files/gate.md" | github "$@" --data @- > "$files/comment.json"
}

if [ -z "$BUDDY_TOKEN" ]; then
  echo "::notice title=No gate::There is no token, as in a pull request of a fork or of Dependabot: the tests decide."
  case "$OUTCOME" in success) finish 0 ;; failure) finish 1 ;; *) finish 5 ;; esac
fi

set --
if [ "$GITHUB_RUN_ATTEMPT" -gt 1 ]; then # all attempts of a run have its URL
  began=$(github "actions/runs/$GITHUB_RUN_ID/attempts/$GITHUB_RUN_ATTEMPT" | jq -r '.run_started_at // empty')
  if [ -n "$began" ]; then set -- --after "$began"; fi
fi
if [ -n "$BASELINE" ]; then set -- "$@" --baseline "$BASELINE"; fi
if [ -n "$QUARANTINE" ]; then set -- "$@" --quarantine "$QUARANTINE"; fi
code=0
# shellcheck disable=SC2086 # options are several words
buddy-sessions gate "$SUITE" --run-url "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID" \
  --outcome "$OUTCOME" "$@" $OPTIONS \
  --write "markdown=$files/gate.md" --write "jsonl=$files/gate.jsonl" --write github=- || code=$?
if [ -s "$files/gate.md" ]; then # otherwise, an input is wrong
  cat "$files/gate.md" >> "$GITHUB_STEP_SUMMARY"
  new=$(grep -cE '"novelty":("new"|null)' "$files/gate.jsonl")
  known=$(($(grep -c . "$files/gate.jsonl") - new))
  if [ "$COMMENT" = true ] && [ -n "$PULL_REQUEST" ] && ! write_comment; then
    echo "::notice title=No comment::It could not be written: give the workflow pull-requests: write, or set comment: false."
  fi
fi
finish "$code"
