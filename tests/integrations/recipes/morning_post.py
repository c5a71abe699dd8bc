"""Post Markdown from stdin to a channel of Slack: each morning, which suites are red. Set SLACK_BOT_TOKEN.

    0 7 * * *  buddy-sessions status acme --why --format markdown | python morning_post.py

Without text, as after an error of the command, nothing is posted. The token of the Slack app needs `chat:write`.
"""

import os
import sys

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

CHANNEL = "C0123456789"
SLACK_API = "https://slack.com/api/"


def main() -> None:
    slack = WebClient(os.environ.get("SLACK_BOT_TOKEN", ""), base_url=SLACK_API)
    if text := sys.stdin.buffer.read().decode().strip():
        slack.chat_postMessage(channel=CHANNEL, markdown_text=text, unfurl_links=False)


if __name__ == "__main__":
    try:
        main()
    except (SlackApiError, OSError) as error:
        sys.exit(f"cannot post: {error}")
