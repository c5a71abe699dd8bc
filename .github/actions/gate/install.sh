#!/usr/bin/env bash
# Installs what the gate needs, with hashes, and the package from the checkout of this action.
# -I: otherwise, modules of the tested checkout, such as logging.py, would run here, next to the token.
set -euo pipefail
if ! python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "::error title=No gate::Python 3.11 or later is needed: add actions/setup-python before this step."
  exit 2
fi
python3 -I -m venv "$RUNNER_TEMP/buddy-sessions"
python="$RUNNER_TEMP/buddy-sessions/bin/python"
"$python" -I -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
  -r "$GITHUB_ACTION_PATH/requirements.txt"
package=$(cd "$GITHUB_ACTION_PATH/../../.." && pwd)
echo "$package" > "$("$python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/buddy_sessions.pth"
