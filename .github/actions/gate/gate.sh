#!/usr/bin/env bash
# Judges the tests of this run of a workflow; writes the summary, annotations, the outputs of the action, and one comment.
# Needs curl and jq, as on GitHub's runners. The variables are those of action.yml, and of GitHub.
set -uo pipefail
files=$(mktemp -d)

finish() { # with this exit code
  local verdict=none
  if [ "$1" = 0 ]; then verdict=passes; elif [ "$1" = 1 ]; then verdict=fails; else new="" known=""; fi
  printf 'verdict=%s\nnew=%s\nknown=%s\n' "$verdict" "${new:-}" "${known:-}" >> "$GITHUB_OUTPUT"
  exit "$1"
}

github() { # path in the repository, options of curl; an argument would show the token to all processes
  curl -fsSL --max-time 30 -H @<(printf 'Authorization: Bearer %s\n' "$GITHUB_TOKEN") \
    "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/$1" "${@:2}"
}

find_comment() { # the id of our own one, and the run that wrote it: anybody can write the marker
  local page found
  for page in 1 2 3 4 5; do
    found=$(github "issues/$PULL_REQUEST/comments?per_page=100&page=$page") || return
    jq -r --arg marker "$(head -n 1 "$files/gate.md")" '
      map(select(.user.login == "github-actions[bot]" and (.body | startswith($marker))))[0] // empty
      | "\(.id) \((.body | capture("<!-- run (?<run>[0-9]+) -->\\s*$").run) // 0)"' <<< "$found"
    [ "$(jq length <<< "$found")" = 100 ] || return 0
  done
}

write_comment() { # a first one only if there is something to say
  local found id run
  found=$(find_comment) || return
  read -r id run <<< "$found"
  if [ -z "$id" ]; then
    if [ "$code" = 0 ] && [ "$(jq '.tests | length' "$files/gate.json")" = 0 ]; then return 0; fi
    set -- "issues/$PULL_REQUEST/comments"
  elif [ "$run" -gt "$GITHUB_RUN_ID" ]; then
    echo "The comment is that of the newer run $run."
    return 0
  else
    set -- "issues/comments/$id" -X PATCH
  fi
  printf '\n<!-- run %s -->\n' "$GITHUB_RUN_ID" | cat "$files/gate.md" - | jq -Rs '{body: .}' |
    github "$@" --data @- > "$files/comment.json"
}

trust_outcome() { # the order is that of --outcome
  local word
  case "$OUTCOME" in *[!a-z\ ]*) word=unknown ;; *) word="" ;; esac
  for word in $word $OUTCOME; do
    case $word in success | failure | cancelled | skipped) ;; *)
      echo "::error title=No gate::An outcome must be success, failure, cancelled or skipped."
      finish 2
    esac
  done
  case " $OUTCOME " in *" failure "*) finish 1 ;; *" cancelled "*) finish 5 ;; *" success "*) finish 0 ;; *) finish 5 ;; esac
}

if [[ -z "$OUTCOME" || "$OUTCOME" =~ ^" "|"  "|" "$ ]]; then
  echo "::error title=No gate::One outcome is empty: is the id of a step or a job misspelt, or not in needs?"
  finish 2
fi

if [ -z "$BUDDY_TOKEN" ]; then
  if [ "$GITHUB_ACTOR" = "dependabot[bot]" ] || { [ -n "$PULL_REQUEST" ] && [ "$HEAD_REPOSITORY" != "$GITHUB_REPOSITORY" ]; }
  then
    echo "::notice title=No gate::A pull request of a fork or of Dependabot gets no token: the tests decide."
  else
    echo "::warning title=No gate::The token is empty, so the tests decide: is the secret set, and its name right?"
  fi
  trust_outcome
fi

set --
if [ "$GITHUB_RUN_ATTEMPT" -gt 1 ]; then # all attempts of a run have its URL
  began=$(github "actions/runs/$GITHUB_RUN_ID/attempts/$GITHUB_RUN_ATTEMPT" | jq -r '.run_started_at // empty')
  if [ -n "$began" ]; then
    set -- --after "$began"
  else
    echo "::notice title=Earlier attempts count::GitHub did not say when this attempt began: give the workflow actions: read."
  fi
fi
if [ -n "$BASELINE" ]; then set -- "$@" --baseline "$BASELINE"; fi
if [ -n "$QUARANTINE" ]; then set -- "$@" --quarantine "$QUARANTINE"; fi
code=0
# shellcheck disable=SC2086 # options are several words
"$RUNNER_TEMP/buddy-sessions/bin/python" -I -X utf8 -m buddy_sessions gate "$SUITE" \
  --run-url "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID" --outcome "$OUTCOME" "$@" $OPTIONS \
  --write "markdown=$files/gate.md" --write "json=$files/gate.json" --write github=- || code=$?
if [ -s "$files/gate.md" ]; then # otherwise, an input is wrong
  cat "$files/gate.md" >> "$GITHUB_STEP_SUMMARY"
  new=$(jq '.counts.new // 0' "$files/gate.json") # without a verdict, there are no counts
  known=$(jq '(.tests | length) - (.counts.new // 0)' "$files/gate.json")
  if [ "$COMMENT" = true ] && [ -n "$PULL_REQUEST" ] && ! write_comment; then
    echo "::notice title=No comment::It could not be written: give the workflow pull-requests: write, or set comment: false."
  fi
fi
finish "$code"
